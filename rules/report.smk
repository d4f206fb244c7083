"""The report: from the evaluations, it makes the sweep's summary, the figures and REPORT.md."""


rule summarize:
    """Put the sweep together: intervals, tests against the best rank, and the elbow."""
    input:
        pairs=after_tokenize("summary"),
        metrics=of_every_rank("metrics.json"),
        per_item=of_every_rank("items.csv"),
        base_per_item=f"{SWEEP}/base/items.csv",
        code=source("summarize"),
    output:
        summary=update(f"{SWEEP}/summary.json"),
        manifest=update(f"{SWEEP}/summarize.manifest.json"),
    log:
        "logs/summarize.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=config_for("statistics"),
        seed=config["statistics"]["seed"],
    script:
        "../workflow_scripts/summarize.py"


rule plot:
    """Draw the sweep and the headline run's losses."""
    input:
        after=after_tokenize("summary"),
        summary=f"{SWEEP}/summary.json",
        headline_log=f"{HEADLINE}/train_log.csv",
        code=source("plot"),
    output:
        accuracy=update(
            report(
                paths.ACCURACY_FIGURE,
                caption="captions/accuracy_vs_rank.rst",
                category="Rank sweep",
                labels={"figure": "Accuracy against rank"},
            )
        ),
        drift=update(
            report(
                paths.DRIFT_FIGURE,
                caption="captions/drift_vs_rank.rst",
                category="Rank sweep",
                labels={"figure": "Control drift against rank"},
            )
        ),
        scale=update(
            report(
                paths.SCALE_FIGURE,
                caption="captions/scale_vs_rank.rst",
                category="Rank sweep",
                labels={"figure": "Scale of the update against rank"},
            )
        ),
        loss=update(
            report(
                paths.LOSS_FIGURE,
                caption="captions/loss_curve_headline.rst",
                category="Headline run",
                labels={"figure": "Fine-tuning loss"},
            )
        ),
        manifest=update(f"{SWEEP}/manifest.json"),
    log:
        "logs/plot.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=config_for(
            *("gates.accuracy_gain_pp", "gates.control_ppl_drift"),
            *(*TASK_WORDS, "task.pairs", "task.controls"),
        ),
    script:
        "../workflow_scripts/plot.py"


rule render:
    """Write REPORT.md from its template; every number in it comes from a results file."""
    input:
        pairs=after_tokenize("summary"),
        sweep=f"{SWEEP}/summary.json",
        metrics=f"{HEADLINE}/metrics.json",
        gates=f"{HEADLINE}/gates.json",
        manifest=f"{HEADLINE}/manifest.json",
        training=f"{HEADLINE_RUN}/training.json",
        verbs=VERBS if not OWN_TASK else [],
        pretraining=[] if OWN_BASE else f"{PRETRAINED}/pretraining.json",
        figures=[
            paths.ACCURACY_FIGURE,
            paths.DRIFT_FIGURE,
            paths.SCALE_FIGURE,
            paths.LOSS_FIGURE,
            *BASE_FIGURE,
        ],
        template=from_study("minituner/reporting/templates/REPORT.md.j2"),
        macros=[
            from_study("minituner/reporting/templates/outcomes.j2"),
            from_study("minituner/reporting/templates/controls.j2"),
            from_study("minituner/reporting/templates/pairs.j2"),
            from_study("minituner/reporting/templates/verbs.j2"),
        ],
        code=source("render"),
    output:
        report=update(paths.REPORT),
        manifest=update(f"{EXPERIMENTS}/report.manifest.json"),
    log:
        "logs/render.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=config_for(
            *("task", "lora", "train", "compute"),
            *(["data.irregular_verbs", "data.regular_verbs"] if not OWN_TASK else []),
        ),
        base_path=config["base"]["checkpoint"] or paths.BASE,
    script:
        "../workflow_scripts/render.py"


# The files that the training jobs' `benchmark:` writes.
BENCHMARKS = {
    **({} if OWN_BASE else {"the base": "logs/pretrain_base.benchmark.tsv"}),
    **{f"rank {rank}": paths.training_benchmark(rank) for rank in config["ranks"]},
}


rule cost:
    """Tabulate seconds and peak memory of the training jobs. The benchmark files are params, not
    inputs: a missing log file must not make the study run again."""
    input:
        after=after_tokenize("summary"),
        force_run=STUDY_ADAPTERS,
        base=BASE,
        code=source("cost"),
    output:
        table=update(f"{SWEEP}/cost.md"),
    log:
        "logs/cost.log",
    conda:
        "../envs/minituner.yaml"
    params:
        benchmarks=BENCHMARKS,
        predictions=paths.PREDICTIONS,
    script:
        "../workflow_scripts/cost.py"


rule gates:
    """Fail if the headline run fails a gate, and name the gate."""
    input:
        gates=f"{HEADLINE}/gates.json",
        adapter=f"{HEADLINE}/{ADAPTER}",
        code=source("gates"),
    log:
        "logs/gates.log",
    conda:
        "../envs/minituner.yaml"
    script:
        "../workflow_scripts/gates.py"


rule simulate:
    """Test the intervals and the elbow rule on simulated data with known ground truth. Not part
    of `report`: it depends only on the statistics."""
    input:
        code=source("simulate"),
    output:
        results=update(f"{SIMULATION}/simulation.json"),
        tables=update(f"{SIMULATION}/simulation.md"),
        manifest=update(f"{SIMULATION}/manifest.json"),
    log:
        "logs/simulate.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=config_for("simulation", "statistics"),
        seed=config["simulation"]["seed"],
    script:
        "../workflow_scripts/simulate.py"
