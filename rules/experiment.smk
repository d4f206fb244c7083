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
        adapters=update(adapters("{{rank}}")),
        logs=update(
            expand(
                f"{SWEEP}/rank-{{{{rank}}}}/seed-{{seed}}/train_log.csv",
                seed=config["seeds"],
            )
        ),
        summary=update(f"{SWEEP}/rank-{{rank}}/training.json"),
        manifest=update(f"{SWEEP}/rank-{{rank}}/train.manifest.json"),
    log:
        "logs/train/rank-{rank}.log",
    benchmark:
        "logs/train/rank-{rank}.benchmark.tsv"
    conda:
        "../envs/minituner.yaml"
    threads: config["threads"]["train"]
    params:
        config=settings(
            "lora.alpha",
            "lora.dropout",
            "lora.target_modules",
            "train",
            "seeds",
            "threads.train",
        ),
        seed=config["seeds"],
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
        metrics=update(f"{SWEEP}/base/metrics.json"),
        per_item=update(f"{SWEEP}/base/items.csv"),
        manifest=update(f"{SWEEP}/base/manifest.json"),
    log:
        "logs/evaluate_base.log",
    conda:
        "../envs/minituner.yaml"
    threads: config["threads"]["evaluate"]
    params:
        config=settings("threads.evaluate"),
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
        metrics=update(f"{SWEEP}/rank-{{rank}}/metrics.json"),
        per_item=update(f"{SWEEP}/rank-{{rank}}/items.csv"),
        manifest=update(f"{SWEEP}/rank-{{rank}}/evaluate.manifest.json"),
    log:
        "logs/evaluate/rank-{rank}.log",
    conda:
        "../envs/minituner.yaml"
    threads: config["threads"]["evaluate"]
    params:
        config=settings("seeds", "threads.evaluate"),
        seed=config["seeds"],
    script:
        "../workflow_scripts/evaluate.py"


rule headline:
    """The run at the headline rank and first seed, taken out of the sweep, with its gates."""
    input:
        pairs=gated("summary"),  # not read
        adapter=f"{HEADLINE_RUN}/seed-{config['seeds'][0]}/adapter_final.pt",
        log=f"{HEADLINE_RUN}/seed-{config['seeds'][0]}/train_log.csv",
        metrics=f"{HEADLINE_RUN}/metrics.json",
        per_item=f"{HEADLINE_RUN}/items.csv",
        base_metrics=f"{SWEEP}/base/metrics.json",
        base=BASE,
        code=source("headline"),
    output:
        adapter=update(f"{HEADLINE}/adapter_final.pt"),
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


rule compare_targets:
    """Which layers to adapt, judged on the validation split. Not part of `report`: asked for by
    name when the base or the candidates change."""
    input:
        train=gated("train"),
        val=tokenized("val"),
        control=tokenized("control"),
        base=BASE,
        tokenizer=TOKENIZER,
        code=source("compare_targets"),
    output:
        results=update(f"{TARGETS}/targets.json"),
        table=update(f"{TARGETS}/targets.md"),
        manifest=update(f"{TARGETS}/manifest.json"),
    log:
        "logs/compare_targets.log",
    conda:
        "../envs/minituner.yaml"
    threads: config["threads"]["train"]
    params:
        config=settings(
            "target_candidates",
            "lora.rank",
            "lora.alpha",
            "lora.dropout",
            "train",
            "seeds",
            "gates.adapter_size_ratio",
            "threads.train",
        ),
        seed=config["seeds"],
    script:
        "../workflow_scripts/compare_targets.py"
