"""minituner: what does a LoRA adapter of rank r buy, and what does it break?

corpus -> filter -> split -> tokenize -> train -> evaluate -> headline -> plot -> render
           base corpus -> train_tokenizer -> pretrain_base -^       evaluate -> compare (ablations)
"""

from snakemake.utils import min_version

min_version("9.27.1")


include: "rules/stop.smk"


configfile: "config.yaml"


report: "rules/captions/workflow.rst"


include: "rules/common.smk"
include: "rules/base.smk"
include: "rules/data.smk"
include: "rules/experiment.smk"
include: "rules/report.smk"
include: "rules/ablations.smk"


rule report:
    """The whole study. Results are committed but weights are not: requiring the weights too makes
    a fresh clone run the study instead of finding nothing to do."""
    default_target: True
    input:
        "REPORT.md",
        BASE_FIGURE,
        f"{SWEEP}/cost.md",
        headline=f"{HEADLINE}/adapter_final.pt",
        adapters=STUDY_ADAPTERS,
        base=BASE,


rule ablations:
    """Every arm that is enabled, and their report."""
    input:
        f"{ABLATIONS}/REPORT.md",
        [tuned_weights(arm) for arm in ENABLED],


for arm_name in ARMS:

    rule:
        name:
            f"ablate_{arm_name}"
        input:
            f"experiments/28-lora-ablate-{arm_name}/{arm_name}.png",
            tuned_weights(arm_name),
