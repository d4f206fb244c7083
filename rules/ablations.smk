"""The ablations: needs the base and the tokenized pairs; makes the runs that the study lacks, a
folder per arm, and experiments/28-lora-ablations/REPORT.md."""

FULL_RUN = f"{EXPERIMENTS}/{{full_variant}}"
ANOTHER_BASE = base_folder("{base_seed}")
ARM = arm_folder("{arm}")


use rule train as train_full with:
    output:
        models=update(of_every_seed(FULL_RUN, MODEL)),
        logs=update(of_every_seed(FULL_RUN, "train_log.csv")),
        summary=update(f"{FULL_RUN}/training.json"),
        manifest=update(f"{FULL_RUN}/train.manifest.json"),
    log:
        "logs/train/{full_variant}.log",
    benchmark:
        "logs/train/{full_variant}.benchmark.tsv"
    params:
        config=inherited_config("train", "threads.train", "compute"),
        changes=overrides_of,
        rank=None,
        seed=config["seeds"],


use rule evaluate as evaluate_full with:
    input:
        **EVALUATION_INPUTS,
        base=base_of,
        tuned=of_every_seed(FULL_RUN, MODEL),
        base_metrics=base_metrics_of,
        code=source("evaluate"),
    output:
        metrics=update(f"{FULL_RUN}/metrics.json"),
        per_item=update(f"{FULL_RUN}/items.csv"),
        manifest=update(f"{FULL_RUN}/evaluate.manifest.json"),
    log:
        "logs/evaluate/{full_variant}.log",


use rule pretrain_base as pretrain_another_base with:
    output:
        base=update(f"{ANOTHER_BASE}/best.pt"),
        log=update(f"{ANOTHER_BASE}/train_log.csv"),
        summary=update(f"{ANOTHER_BASE}/pretraining.json"),
        manifest=update(f"{ANOTHER_BASE}/manifest.json"),
    log:
        "logs/pretrain_base/seed-{base_seed}.log",
    benchmark:
        "logs/pretrain_base/seed-{base_seed}.benchmark.tsv"
    params:
        config=config_for(
            "base.model",
            *(
                f"base.pretrain.{key}"
                for key in config["base"]["pretrain"]
                if key != "seed"
            ),
            "threads.pretrain",
        ),
        seed=lambda wildcards: int(wildcards.base_seed),


use rule evaluate_base as evaluate_another_base with:
    input:
        **EVALUATION_INPUTS,
        base=base_of,
        code=source("evaluate_base"),
    output:
        metrics=update(f"{EXPERIMENTS}/{{variant}}/base/metrics.json"),
        per_item=update(f"{EXPERIMENTS}/{{variant}}/base/items.csv"),
        manifest=update(f"{EXPERIMENTS}/{{variant}}/base/manifest.json"),
    log:
        "logs/evaluate_base/{variant}.log",


rule compare:
    """Put the runs of one arm together: a table with intervals."""
    input:
        after=after_tokenize("summary"),
        metrics=arm_files("metrics.json"),
        per_item=arm_files("items.csv"),
        base_per_item=lambda wildcards: [
            base_results(run.computed_by, "items.csv") for run in ARMS[wildcards.arm]
        ],
        code=source("compare"),
    output:
        summary=update(f"{ARM}/summary.json"),
        manifest=update(f"{ARM}/manifest.json"),
    log:
        "logs/compare/{arm}.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=config_for("statistics", "gates.adapter_size_ratio"),
        runs=lambda wildcards: [describe_run(run) for run in ARMS[wildcards.arm]],
        seed=config["statistics"]["seed"],
    script:
        "../workflow_scripts/compare.py"


rule plot_arm:
    """Draw one arm."""
    input:
        after=after_tokenize("summary"),
        summary=f"{ARM}/summary.json",
        code=source("plot_arm"),
    output:
        figure=update(
            report(
                f"{ARM}/{{arm}}.png",
                caption="captions/ablation.rst",
                category="Ablations",
                labels={"figure": "{arm}"},
            )
        ),
        manifest=update(f"{ARM}/plot_arm.manifest.json"),
    log:
        "logs/plot_arm/{arm}.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=config_for(*TASK_WORDS, "gates.control_ppl_drift"),
    script:
        "../workflow_scripts/plot_arm.py"


rule plot_ablations:
    """Draw learned against forgotten: every run of every enabled arm in one figure."""
    input:
        after=after_tokenize("summary"),
        summaries=[f"{arm_folder(arm)}/summary.json" for arm in ENABLED],
        code=source("plot_ablations"),
    output:
        figure=update(
            report(
                paths.ABLATIONS_FIGURE,
                caption="captions/learned_vs_forgotten.rst",
                category="Ablations",
                labels={"figure": "learned against forgotten"},
            )
        ),
        manifest=update(f"{ABLATIONS}/plot_ablations.manifest.json"),
    log:
        "logs/plot_ablations.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=config_for(*TASK_WORDS, "gates.control_ppl_drift"),
        arms=ENABLED,
    script:
        "../workflow_scripts/plot_ablations.py"


rule render_ablations:
    """Write the ablations' report; every number in it comes from an arm's summary."""
    input:
        pairs=after_tokenize("summary"),
        summaries=[f"{arm_folder(arm)}/summary.json" for arm in ENABLED],
        figures=[
            paths.ABLATIONS_FIGURE,
            *(f"{arm_folder(arm)}/{arm}.png" for arm in ENABLED),
        ],
        template=from_study("minituner/reporting/templates/ABLATIONS.md.j2"),
        macros=from_study("minituner/reporting/templates/arms.j2"),
        code=source("render_ablations"),
    output:
        report=update(f"{ABLATIONS}/REPORT.md"),
        manifest=update(f"{ABLATIONS}/manifest.json"),
    log:
        "logs/render_ablations.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=config_for("task", "lora", "train", "gates"),
        arms=ENABLED,
    script:
        "../workflow_scripts/render_ablations.py"
