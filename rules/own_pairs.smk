"""The pairs and the control set of a task of one's own: needs its files, makes data/filtered."""


rule read_task:
    """Read the task's pairs and its first control set."""
    input:
        pairs=TASK_FILES,
        control=FIRST_CONTROL,
        code=source("read_task"),
    output:
        task=update("data/filtered/task.jsonl"),
        control=update("data/filtered/control.jsonl"),
        summary=update("data/filtered/summary.json"),
        manifest=update("data/filtered/manifest.json"),
    log:
        "logs/read_task.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=config_for("task.pairs"),
    script:
        "../workflow_scripts/read_task.py"
