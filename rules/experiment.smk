"""The experiment: needs the base and the tokenized pairs, makes an adapter for every rank and seed,
its evaluation, and the headline run with its gates."""


rule train:
    """LoRA adapters of one rank, one for each seed."""
    input:
        train=gated("train"),
        val=tokenized("val"),
        control=tokenized("control"),
        base=BASE,
        tokenizer=TOKENIZER,
        code=source("train"),
    output:
        adapters=adapters("{{rank}}"),
        logs=expand(f"{SWEEP}/rank-{{{{rank}}}}/seed-{{seed}}/train_log.csv", seed=config["seeds"]),
        summary=f"{SWEEP}/rank-{{rank}}/training.json",
        manifest=f"{SWEEP}/rank-{{rank}}/train.manifest.json",
    params:
        alpha=config["lora"]["alpha"],
        dropout=config["lora"]["dropout"],
        target_modules=config["lora"]["target_modules"],
        train=config["train"],
        seeds=config["seeds"],
        torch_threads=config["threads"]["train"],
    threads: config["threads"]["train"]
    log:
        "logs/train/rank-{rank}.log",
    benchmark:
        "logs/train/rank-{rank}.benchmark.tsv"
    conda:
        "../envs/minituner.yaml"
    script:
        "../workflow_scripts/train.py"


rule evaluate_base:
    """Score the untuned base, with no adapter in it."""
    input:
        test=gated("test"),
        val=tokenized("val"),
        control=tokenized("control"),
        probe=tokenized("probe"),
        base=BASE,
        tokenizer=TOKENIZER,
        code=source("evaluate_base"),
    output:
        metrics=f"{SWEEP}/base/metrics.json",
        per_item=f"{SWEEP}/base/items.csv",
        manifest=f"{SWEEP}/base/manifest.json",
    params:
        torch_threads=config["threads"]["evaluate"],
    threads: config["threads"]["evaluate"]
    log:
        "logs/evaluate_base.log",
    conda:
        "../envs/minituner.yaml"
    script:
        "../workflow_scripts/evaluate_base.py"


rule evaluate:
    """Score the adapters of one rank on the test, validation, control and probe splits."""
    input:
        test=gated("test"),
        val=tokenized("val"),
        control=tokenized("control"),
        probe=tokenized("probe"),
        base=BASE,
        tokenizer=TOKENIZER,
        adapters=adapters("{{rank}}"),
        base_metrics=f"{SWEEP}/base/metrics.json",
        code=source("evaluate"),
    output:
        metrics=f"{SWEEP}/rank-{{rank}}/metrics.json",
        per_item=f"{SWEEP}/rank-{{rank}}/items.csv",
        manifest=f"{SWEEP}/rank-{{rank}}/evaluate.manifest.json",
    params:
        seeds=config["seeds"],
        torch_threads=config["threads"]["evaluate"],
    threads: config["threads"]["evaluate"]
    log:
        "logs/evaluate/rank-{rank}.log",
    conda:
        "../envs/minituner.yaml"
    script:
        "../workflow_scripts/evaluate.py"


rule headline:
    """The run at the headline rank and first seed, taken out of the sweep, with its gates."""
    input:
        adapter=f"{HEADLINE_RUN}/seed-{config['seeds'][0]}/adapter_final.pt",
        log=f"{HEADLINE_RUN}/seed-{config['seeds'][0]}/train_log.csv",
        metrics=f"{HEADLINE_RUN}/metrics.json",
        per_item=f"{HEADLINE_RUN}/items.csv",
        base_metrics=f"{SWEEP}/base/metrics.json",
        base=BASE,
        code=source("headline"),
    output:
        adapter=f"{HEADLINE}/adapter_final.pt",
        log=f"{HEADLINE}/train_log.csv",
        metrics=f"{HEADLINE}/metrics.json",
        per_item=f"{HEADLINE}/items.csv",
        gates=f"{HEADLINE}/gates.json",
        manifest=f"{HEADLINE}/manifest.json",
    params:
        seed=config["seeds"][0],
        lora=config["lora"],
        train=config["train"],
        gates=config["gates"],
    log:
        "logs/headline.log",
    conda:
        "../envs/minituner.yaml"
    script:
        "../workflow_scripts/headline.py"
