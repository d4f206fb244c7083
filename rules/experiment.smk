"""The experiment: from the base and the tokenized pairs, it makes an adapter for every rank and seed,
its evaluation, and the headline run with its gates."""

RUN = rank_folder("{rank}", f"{EXPERIMENTS}/{{variant}}")


rule train:
    """LoRA adapters of one variant at one rank, one per seed."""
    input:
        train=after_tokenize("train"),
        val=tokenized("val"),
        control=tokenized("control"),
        base=base_of,
        tokenizer=TOKENIZER,
        code=source("train"),
    output:
        adapters=update(of_every_seed(RUN, ADAPTER)),
        safetensors=update(of_every_seed(RUN, "adapter_final.safetensors")),
        logs=update(of_every_seed(RUN, "train_log.csv")),
        summary=update(f"{RUN}/training.json"),
        manifest=update(f"{RUN}/train.manifest.json"),
    log:
        "logs/train/{variant}/rank-{rank}.log",
    benchmark:
        "logs/train/{variant}/rank-{rank}.benchmark.tsv"
    # Training jobs start before evaluation jobs, so that no core is idle at the end.
    priority: 1
    conda:
        "../envs/minituner.yaml"
    threads: config["threads"]["train"]
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        config=inherited_config(*LORA_KEYS, "train", "threads.train"),
        changes=overrides_of,
        rank=rank_of,
        seed=config["seeds"],
    script:
        "../workflow_scripts/train.py"


rule evaluate_base:
    """Score the untuned base."""
    input:
        **EVALUATION_INPUTS,
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
        config=config_for("threads.evaluate"),
    script:
        "../workflow_scripts/evaluate_base.py"


rule evaluate:
    """Score the adapters of one run on the test, validation, control and probe splits."""
    input:
        **EVALUATION_INPUTS,
        base=base_of,
        tuned=of_every_seed(RUN, ADAPTER),
        base_metrics=base_metrics_of,
        code=source("evaluate"),
    output:
        metrics=update(f"{RUN}/metrics.json"),
        per_item=update(f"{RUN}/items.csv"),
        manifest=update(f"{RUN}/evaluate.manifest.json"),
    log:
        "logs/evaluate/{variant}/rank-{rank}.log",
    conda:
        "../envs/minituner.yaml"
    threads: config["threads"]["evaluate"]
    resources:
        mem_mb=1500,
        runtime=15,
    params:
        config=config_for("seeds", "threads.evaluate"),
        rank=rank_of,
        seed=config["seeds"],
    script:
        "../workflow_scripts/evaluate.py"


rule headline:
    """Copy the run at the headline rank and first seed out of the sweep, and compute its gates."""
    input:
        after=after_tokenize("summary"),
        adapter=f"{HEADLINE_SEED_FOLDER}/{ADAPTER}",
        safetensors=f"{HEADLINE_SEED_FOLDER}/adapter_final.safetensors",
        log=f"{HEADLINE_SEED_FOLDER}/train_log.csv",
        metrics=f"{HEADLINE_RUN}/metrics.json",
        per_item=f"{HEADLINE_RUN}/items.csv",
        base_metrics=f"{SWEEP}/base/metrics.json",
        base=BASE,
        code=source("headline"),
    output:
        adapter=update(f"{HEADLINE}/{ADAPTER}"),
        safetensors=update(paths.ADAPTER),
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
        config=config_for("lora", "train", "gates", "task.pairs", "task.controls"),
        seed=config["seeds"][0],
    script:
        "../workflow_scripts/headline.py"
