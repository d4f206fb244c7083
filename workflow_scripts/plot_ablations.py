from minituner.pipeline.stage import run_stage
from minituner.reporting.ablation_plots import plot_learned_vs_forgotten
from minituner.reporting.figures import TaskNames
from minituner.results import ArmSummary, read_results

with run_stage(snakemake) as job:
    summaries = [read_results(path, ArmSummary) for path in job.input.summaries]
    arms = dict(zip(job.params.arms, summaries, strict=True))
    names, gates = TaskNames(**job.params.config["task"]), job.params.config["gates"]
    plot_learned_vs_forgotten(arms, names, gates["control_ppl_drift"], job.output.figure)
