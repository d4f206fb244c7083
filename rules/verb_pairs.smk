"""The pairs of a study of verbs: needs the verb corpus, makes data/filtered."""


rule filter:
    """Keep the past simple and participle rows of the study's verbs."""
    input:
        corpus=CORPUS,
        verbs=VERBS,
        code=source("filter"),
    output:
        task=update("data/filtered/task.jsonl"),
        control=update("data/filtered/control.jsonl"),
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
