"""The report: needs the evaluations, makes the figures and REPORT.md."""


rule plot:
    """Put the sweep together, find its elbow, draw the figures."""
    input:
        pairs=gated("summary"),
        metrics=of_every_rank("metrics.json"),
        per_item=of_every_rank("items.csv"),
        base_per_item=f"{SWEEP}/base/items.csv",
        headline_log=f"{HEADLINE}/train_log.csv",
        # Not read. They are not committed either, so a figure asked for on a fresh clone is drawn
        # from a run and not found lying there.
        adapters=STUDY_ADAPTERS,
        code=source("plot"),
    output:
        summary=update(f"{SWEEP}/summary.json"),
        accuracy=update(
            report(
                f"{SWEEP}/accuracy_vs_rank.png",
                caption="captions/accuracy_vs_rank.rst",
                category="Rank sweep",
                labels={"figure": "Accuracy against rank"},
            )
        ),
        drift=update(
            report(
                f"{SWEEP}/drift_vs_rank.png",
                caption="captions/drift_vs_rank.rst",
                category="Rank sweep",
                labels={"figure": "Control drift against rank"},
            )
        ),
        scale=update(
            report(
                f"{SWEEP}/scale_vs_rank.png",
                caption="captions/scale_vs_rank.rst",
                category="Rank sweep",
                labels={"figure": "Scale of the update against rank"},
            )
        ),
        loss=update(
            report(
                f"{HEADLINE}/loss_curve.png",
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
        config=settings("gates", "statistics"),
        seed=config["statistics"]["seed"],
    script:
        "../workflow_scripts/plot.py"


rule render:
    """REPORT.md from its template; every number in it comes from a results file."""
    input:
        pairs=gated("summary"),
        sweep=f"{SWEEP}/summary.json",
        metrics=f"{HEADLINE}/metrics.json",
        gates=f"{HEADLINE}/gates.json",
        manifest=f"{HEADLINE}/manifest.json",
        training=f"{HEADLINE_RUN}/training.json",
        verbs=VERBS,
        pretraining=[] if OWN_BASE else f"{PRETRAINED}/pretraining.json",
        figures=[
            f"{SWEEP}/accuracy_vs_rank.png",
            f"{SWEEP}/drift_vs_rank.png",
            f"{SWEEP}/scale_vs_rank.png",
            f"{HEADLINE}/loss_curve.png",
            *BASE_FIGURE,
        ],
        template="minituner/reporting/templates/REPORT.md.j2",
        macros="minituner/reporting/templates/outcomes.j2",
        code=source("render"),
    output:
        report=update("REPORT.md"),
        manifest=update("experiments/report.manifest.json"),
    log:
        "logs/render.log",
    conda:
        "../envs/minituner.yaml"
    params:
        config=settings("lora", "train", "data.irregular_verbs", "data.regular_verbs"),
        base_path=BASE,
    script:
        "../workflow_scripts/render.py"


rule cost:
    """Seconds and peak memory of the training jobs. The benchmark files are no inputs: they lie
    among the logs, and a study is not run again for want of a log."""
    input:
        pairs=gated("summary"),  # not read
        adapters=STUDY_ADAPTERS,
        base=BASE,
        code=source("cost"),
    output:
        table=update(f"{SWEEP}/cost.md"),
    log:
        "logs/cost.log",
    conda:
        "../envs/minituner.yaml"
    params:
        benchmarks={
            **({} if OWN_BASE else {"the base": "logs/pretrain_base.benchmark.tsv"}),
            **{
                f"rank {rank}": f"logs/train/{study_setting().folder}/rank-{rank}.benchmark.tsv"
                for rank in config["ranks"]
            },
        },
    script:
        "../workflow_scripts/cost.py"


rule gates:
    """Fails, naming it, if a gate of the headline run fails."""
    input:
        gates=f"{HEADLINE}/gates.json",
        adapter=f"{HEADLINE}/adapter_final.pt",
        code=source("gates"),
    log:
        "logs/gates.log",
    conda:
        "../envs/minituner.yaml"
    script:
        "../workflow_scripts/gates.py"


rule simulate:
    """How far the intervals and the elbow's rule can be trusted, on studies whose truth is known.
    Not part of `report`: it depends on the statistics alone."""
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
        config=settings("simulation", "statistics"),
        seed=config["simulation"]["seed"],
    script:
        "../workflow_scripts/simulate.py"
