"""The ablations: needs the base and the tokenized pairs, makes the runs that the study has not made,
a folder for each arm, and experiments/28-lora-ablations/REPORT.md."""


use rule train as train_full with:
    output:
        models=update(of_every_seed("{{full_setting}}", "model_final.pt")),
        logs=update(of_every_seed("{{full_setting}}", "train_log.csv")),
        summary=update("experiments/{full_setting}/training.json"),
        manifest=update("experiments/{full_setting}/train.manifest.json"),
    log:
        "logs/train/{full_setting}.log",
    benchmark:
        "logs/train/{full_setting}.benchmark.tsv"
    params:
        config=run_settings("train", "threads.train"),
        changes=run_changes,
        rank=None,
        seed=config["seeds"],


use rule evaluate as evaluate_full with:
    input:
        **SCORED,
        base=base_of,
        tuned=of_every_seed("{{full_setting}}", "model_final.pt"),
        base_metrics=base_metrics_of,
        code=source("evaluate"),
    output:
        metrics=update("experiments/{full_setting}/metrics.json"),
        per_item=update("experiments/{full_setting}/items.csv"),
        manifest=update("experiments/{full_setting}/evaluate.manifest.json"),
    log:
        "logs/evaluate/{full_setting}.log",


use rule pretrain_base as pretrain_another_base with:
    output:
        base=update(f"{PRETRAINED}/seed-{{base_seed}}/best.pt"),
        log=update(f"{PRETRAINED}/seed-{{base_seed}}/train_log.csv"),
        summary=update(f"{PRETRAINED}/seed-{{base_seed}}/pretraining.json"),
        manifest=update(f"{PRETRAINED}/seed-{{base_seed}}/manifest.json"),
    log:
        "logs/pretrain_base/seed-{base_seed}.log",
    benchmark:
        "logs/pretrain_base/seed-{base_seed}.benchmark.tsv"
    params:
        config=settings(
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
        **SCORED,
        base=base_of,
        code=source("evaluate_base"),
    output:
        metrics=update("experiments/{setting}/base/metrics.json"),
        per_item=update("experiments/{setting}/base/items.csv"),
        manifest=update("experiments/{setting}/base/manifest.json"),
    log:
        "logs/evaluate_base/{setting}.log",


rule compare:
    """Put the runs of one arm together: a table with intervals, and a figure."""
    input:
        pairs=gated("summary"),  # not read
        metrics=arm_files("metrics.json"),
        per_item=arm_files("items.csv"),
        base_per_item=lambda wildcards: [
            base_results(run.owner, "items.csv") for run in ARMS[wildcards.arm]
        ],
        # Not read, nor committed: an arm asked for on a fresh clone is trained, not found lying there.
        tuned=lambda wildcards: tuned_weights(wildcards.arm),
        code=source("compare"),
    output:
        summary=update("experiments/28-lora-ablate-{arm}/summary.json"),
        figure=update(
            report(
                "experiments/28-lora-ablate-{arm}/{arm}.png",
                caption="captions/ablation.rst",
                category="Ablations",
                labels={"figure": "{arm}"},
            )
        ),
        manifest=update("experiments/28-lora-ablate-{arm}/manifest.json"),
    log:
        "logs/compare/{arm}.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=settings(
            "statistics", "gates.adapter_size_ratio", "gates.control_ppl_drift"
        ),
        runs=lambda wildcards: [describe_run(run) for run in ARMS[wildcards.arm]],
        seed=config["statistics"]["seed"],
    script:
        "../workflow_scripts/compare.py"


rule plot_ablations:
    """Learned against forgotten: every run of every arm in one figure."""
    input:
        pairs=gated("summary"),  # not read
        summaries=[f"experiments/28-lora-ablate-{arm}/summary.json" for arm in ENABLED],
        code=source("plot_ablations"),
    output:
        figure=update(
            report(
                f"{ABLATIONS}/learned_vs_forgotten.png",
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
        config=settings("gates.control_ppl_drift"),
        arms=ENABLED,
    script:
        "../workflow_scripts/plot_ablations.py"


rule render_ablations:
    """The ablations' report; every number in it comes from an arm's summary."""
    input:
        pairs=gated("summary"),  # not read
        summaries=[f"experiments/28-lora-ablate-{arm}/summary.json" for arm in ENABLED],
        figures=[
            f"{ABLATIONS}/learned_vs_forgotten.png",
            *(f"experiments/28-lora-ablate-{arm}/{arm}.png" for arm in ENABLED),
        ],
        template="minituner/reporting/templates/ABLATIONS.md.j2",
        macros="minituner/reporting/templates/arms.j2",
        code=source("render_ablations"),
    output:
        report=update(f"{ABLATIONS}/REPORT.md"),
        manifest=update(f"{ABLATIONS}/manifest.json"),
    log:
        "logs/render_ablations.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=settings("lora", "train", "gates"),
        arms=ENABLED,
    script:
        "../workflow_scripts/render_ablations.py"
