"""The study's data: needs data/filtered, which `filter` or `read_task` make, and makes data/splits
and data/tokenized. Nothing from here on knows which of the two it was."""

# `split` needs only the sizes. How much a verb corpus's control and irregular pairs may differ is
# checked by `tokenize`, which knows the pairs that fit into the context.
SPLIT_KEYS = [f"data.split.{key}" for key in config["data"]["split"]]
LIMIT_KEYS = [key for key in SPLIT_KEYS if key.startswith("data.split.max_")]
SIZE_KEYS = [key for key in SPLIT_KEYS if key not in LIMIT_KEYS]

FURTHER_FILTERED = (
    {
        "controls": expand(
            "data/filtered/controls/{control}.jsonl", control=FURTHER_CONTROLS
        )
    }
    if FURTHER_CONTROLS
    else {}
)


rule read_control:
    """Read a further control set."""
    input:
        files=lambda wildcards: FURTHER_CONTROLS[wildcards.control],
        code=source("read_control"),
    output:
        pairs=update("data/filtered/controls/{control}.jsonl"),
        manifest=update("data/filtered/controls/{control}.manifest.json"),
    log:
        "logs/read_control/{control}.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=config_for("task.pairs"),
    script:
        "../workflow_scripts/read_control.py"


rule split:
    """The task's pairs into train, val and test, the control's into control and probe; no leaks."""
    input:
        **FURTHER_FILTERED,
        task="data/filtered/task.jsonl",
        control="data/filtered/control.jsonl",
        base_corpus=BASE_CORPUS,
        verbs=VERBS,
        code=source("split"),
    output:
        **{name: update(files) for name, files in of_every_split("splits").items()},
        unseen_words=update("data/splits/unseen_words.json"),
        manifest=update("data/splits/manifest.json"),
    log:
        "logs/split.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=config_for(*SIZE_KEYS, "data.seed", "task.pairs", "task.scoring"),
        seed=config["data"]["seed"],
    script:
        "../workflow_scripts/split.py"


checkpoint tokenize:
    """Write the pairs that fit into the context as token ids, if control and task are alike. A
    checkpoint: see `after_tokenize`."""
    input:
        **of_every_split("splits"),
        all_control="data/filtered/control.jsonl",
        unseen_words="data/splits/unseen_words.json",
        tokenizer=TOKENIZER,
        base_settings=BASE_FILES.settings,
        code=source("tokenize"),
    output:
        **{name: update(files) for name, files in of_every_split("tokenized").items()},
        summary=update("data/tokenized/summary.json"),
        manifest=update("data/tokenized/manifest.json"),
    log:
        "logs/tokenize.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=config_for(
            *(READING_KEY, "data.max_share_too_long", "task.scoring"),
            *([] if OWN_TASK else LIMIT_KEYS),
        ),
    script:
        "../workflow_scripts/tokenize.py"
