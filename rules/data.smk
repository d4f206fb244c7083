"""The study's data: needs the verb corpus, makes data/filtered, data/splits and data/tokenized."""

# `split` needs only the sizes. How much control and irregular pairs may differ is checked by
# `tokenize`, which knows the pairs that fit into the context.
SPLIT_KEYS = [f"data.split.{key}" for key in config["data"]["split"]]
LIMIT_KEYS = [key for key in SPLIT_KEYS if key.startswith("data.split.max_")]
SIZE_KEYS = [key for key in SPLIT_KEYS if key not in LIMIT_KEYS]


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
        config=config_for("data.irregular_verbs", "data.regular_verbs"),
    script:
        "../workflow_scripts/filter.py"


rule split:
    """Irregular pairs into train, val and test, regular pairs into control and probe; no leaks."""
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
        config=config_for(*SIZE_KEYS, "data.seed"),
        seed=config["data"]["seed"],
    script:
        "../workflow_scripts/split.py"


checkpoint tokenize:
    """Write the pairs that fit into the context as token ids, if control and irregular pairs are
    alike. A checkpoint: see `after_tokenize`."""
    input:
        **{name: f"data/splits/{name}.jsonl" for name in SPLITS},
        regular="data/filtered/regular.jsonl",
        unseen_words="data/splits/unseen_words.json",
        tokenizer=TOKENIZER,
        base_settings=BASE_FILES.settings,
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
        config=config_for(READING_KEY, "data.max_share_too_long", *LIMIT_KEYS),
    script:
        "../workflow_scripts/tokenize.py"
