"""The experiment: needs the base and the tokenized pairs, makes an adapter for every rank and seed,
its evaluation, and the headline run with its gates."""


rule train:
    """LoRA adapters of one setting at one rank, one for each seed."""
    input:
        train=gated("train"),
        val=tokenized("val"),
        control=tokenized("control"),
        base=base_of,
        tokenizer=TOKENIZER,
        code=source("train"),
    output:
        adapters=update(adapters("{{setting}}/rank-{{rank}}")),
        twins=update(
            of_every_seed("{{setting}}/rank-{{rank}}", "adapter_final.safetensors")
        ),
        logs=update(of_every_seed("{{setting}}/rank-{{rank}}", "train_log.csv")),
        summary=update("experiments/{setting}/rank-{rank}/training.json"),
        manifest=update("experiments/{setting}/rank-{rank}/train.manifest.json"),
    log:
        "logs/train/{setting}/rank-{rank}.log",
    benchmark:
        "logs/train/{setting}/rank-{rank}.benchmark.tsv"
    # Long jobs first: an evaluation fits beside the last of them, that one beside nothing.
    priority: 1
    conda:
        "../envs/minituner.yaml"
    threads: config["threads"]["train"]
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        config=run_settings(*LORA_SETTINGS, "train", "threads.train"),
        changes=run_changes,
        rank=rank_of,
        seed=config["seeds"],
    script:
        "../workflow_scripts/train.py"


rule evaluate_base:
    """Score the untuned base, with no adapter in it."""
    input:
        **SCORED,
        base=BASE,
        code=source("evaluate_base"),
    output:
        metrics=update(f"{SWEEP}/base/metrics.json"),
        per_item=update(f"{SWEEP}/base/items.csv"),
        manifest=update(f"{SWEEP}/base/manifest.json"),
    log:
        "logs/evaluate_base.log",
    conda:
        "../envs/minituner.yaml"
    threads: config["threads"]["evaluate"]
    resources:
        mem_mb=1500,
        runtime=15,
    params:
        config=settings("threads.evaluate"),
    script:
        "../workflow_scripts/evaluate_base.py"


rule evaluate:
    """Score the adapters of one run on the test, validation, control and probe splits."""
    input:
        **SCORED,
        base=base_of,
        tuned=adapters("{{setting}}/rank-{{rank}}"),
        base_metrics=base_metrics_of,
        code=source("evaluate"),
    output:
        metrics=update("experiments/{setting}/rank-{rank}/metrics.json"),
        per_item=update("experiments/{setting}/rank-{rank}/items.csv"),
        manifest=update("experiments/{setting}/rank-{rank}/evaluate.manifest.json"),
    log:
        "logs/evaluate/{setting}/rank-{rank}.log",
    conda:
        "../envs/minituner.yaml"
    threads: config["threads"]["evaluate"]
    resources:
        mem_mb=1500,
        runtime=15,
    params:
        config=settings("seeds", "threads.evaluate"),
        rank=rank_of,
        seed=config["seeds"],
    script:
        "../workflow_scripts/evaluate.py"


rule headline:
    """The run at the headline rank and first seed, taken out of the sweep, with its gates."""
    input:
        pairs=gated("summary"),  # not read
        adapter=f"{HEADLINE_RUN}/seed-{config['seeds'][0]}/adapter_final.pt",
        twin=f"{HEADLINE_RUN}/seed-{config['seeds'][0]}/adapter_final.safetensors",
        log=f"{HEADLINE_RUN}/seed-{config['seeds'][0]}/train_log.csv",
        metrics=f"{HEADLINE_RUN}/metrics.json",
        per_item=f"{HEADLINE_RUN}/items.csv",
        base_metrics=f"{SWEEP}/base/metrics.json",
        base=BASE,
        code=source("headline"),
    output:
        adapter=update(f"{HEADLINE}/adapter_final.pt"),
        twin=update(f"{HEADLINE}/adapter_final.safetensors"),
        log=update(f"{HEADLINE}/train_log.csv"),
        metrics=update(f"{HEADLINE}/metrics.json"),
        per_item=update(f"{HEADLINE}/items.csv"),
        gates=update(f"{HEADLINE}/gates.json"),
        manifest=update(f"{HEADLINE}/manifest.json"),
    log:
        "logs/headline.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=settings("lora", "train", "gates"),
        seed=config["seeds"][0],
    script:
        "../workflow_scripts/headline.py"
