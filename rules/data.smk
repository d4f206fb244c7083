"""The study's data: needs the verb corpus, makes data/filtered, data/splits and data/tokenized."""

# Which pairs go where; and, once it is known which of them fit, how unlike they may be.
LIKENESS = [
    f"data.split.{key}" for key in config["data"]["split"] if key.startswith("max_")
]
DIVISION = [
    f"data.split.{key}" for key in config["data"]["split"] if not key.startswith("max_")
]


rule filter:
    """Keep the past simple and participle rows of the study's verbs."""
    input:
        corpus=CORPUS,
        verbs=VERBS,
        code=source("filter"),
    output:
        irregular=update("data/filtered/irregular.jsonl"),
        regular=update("data/filtered/regular.jsonl"),
        summary=update("data/filtered/summary.json"),
        manifest=update("data/filtered/manifest.json"),
    log:
        "logs/filter.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=settings("data.irregular_verbs", "data.regular_verbs"),
    script:
        "../workflow_scripts/filter.py"


rule split:
    """Train, val and test of the irregular pairs, control and probe of the regular; no leaks."""
    input:
        irregular="data/filtered/irregular.jsonl",
        regular="data/filtered/regular.jsonl",
        base_corpus=BASE_CORPUS,
        verbs=VERBS,
        code=source("split"),
    output:
        **{name: update(f"data/splits/{name}.jsonl") for name in SPLITS},
        unseen_words=update("data/splits/unseen_words.json"),
        manifest=update("data/splits/manifest.json"),
    log:
        "logs/split.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=settings(*DIVISION, "data.seed"),
        seed=config["data"]["seed"],
    script:
        "../workflow_scripts/split.py"


checkpoint tokenize:
    """Write the pairs that fit as token ids, if they are alike. A checkpoint: see `gated`."""
    input:
        **{name: f"data/splits/{name}.jsonl" for name in SPLITS},
        regular="data/filtered/regular.jsonl",
        unseen_words="data/splits/unseen_words.json",
        tokenizer=TOKENIZER,
        code=source("tokenize"),
    output:
        **{name: update(tokenized(name)) for name in SPLITS},
        summary=update("data/tokenized/summary.json"),
        manifest=update("data/tokenized/manifest.json"),
    log:
        "logs/tokenize.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=settings(
            "base.model.context_length", "data.max_share_too_long", *LIKENESS
        ),
    script:
        "../workflow_scripts/tokenize.py"
