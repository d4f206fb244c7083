"""The base: needs the base corpus, makes experiments/17-minigpt-train/{tokenizer.json, best.pt}.

Not part of the graph when config.yaml names a checkpoint.
"""


rule train_tokenizer:
    """Byte-level BPE on the base corpus."""
    input:
        corpus=BASE_CORPUS,
        verbs=VERBS,
        code=source("train_tokenizer"),
    output:
        tokenizer=update(paths.TOKENIZER),
        manifest=update(f"{PRETRAINED}/train_tokenizer.manifest.json"),
    log:
        "logs/train_tokenizer.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=config_for("base.vocab_size"),
    script:
        "../workflow_scripts/train_tokenizer.py"


rule pretrain_base:
    """MiniGPT on the base corpus; the weights with the lowest validation loss are kept."""
    input:
        corpus=BASE_CORPUS,
        verbs=VERBS,
        tokenizer=paths.TOKENIZER,
        code=source("pretrain_base"),
    output:
        base=update(paths.BASE),
        log=update(f"{PRETRAINED}/train_log.csv"),
        summary=update(f"{PRETRAINED}/pretraining.json"),
        manifest=update(f"{PRETRAINED}/manifest.json"),
    log:
        "logs/pretrain_base.log",
    benchmark:
        "logs/pretrain_base.benchmark.tsv"
    # The longest job, and everything else waits for its base.
    priority: 2
    conda:
        "../envs/minituner.yaml"
    threads: config["threads"]["pretrain"]
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        config=config_for("base.model", "base.pretrain", "threads.pretrain"),
        seed=config["base"]["pretrain"]["seed"],
    script:
        "../workflow_scripts/pretrain_base.py"


rule plot_pretraining:
    """The base's loss curve."""
    input:
        log=f"{PRETRAINED}/train_log.csv",
        code=source("plot_pretraining"),
    output:
        figure=update(
            report(
                paths.BASE_LOSS_FIGURE,
                caption="captions/loss_curve_base.rst",
                category="Base",
                labels={"figure": "Pretraining loss"},
            )
        ),
        manifest=update(f"{PRETRAINED}/plot_pretraining.manifest.json"),
    log:
        "logs/plot_pretraining.log",
    conda:
        "../envs/minituner.yaml"
    script:
        "../workflow_scripts/plot_pretraining.py"
