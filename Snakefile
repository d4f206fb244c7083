"""minituner: what does a LoRA adapter of rank r buy, and what does it break?

corpus -> filter -> split -> tokenize -> train -> evaluate -> summarize -> plot -> render
           base corpus -> train_tokenizer -> pretrain_base -^         |-> headline (gates)
                                                                      |-> compare -> plot_arm (ablations)
"""

from snakemake.utils import min_version

min_version("9.27.1")


include: "rules/start.smk"


configfile: "config.yaml"


report: "rules/captions/workflow.rst"


include: "rules/common.smk"
include: "rules/base.smk"
include: "rules/own_pairs.smk" if OWN_TASK else "rules/verb_pairs.smk"
include: "rules/data.smk"
include: "rules/experiment.smk"
include: "rules/report.smk"
include: "rules/ablations.smk"


rule report:
    """The whole study, with its weights (see STUDY_ADAPTERS in rules/common.smk)."""
    default_target: True
    input:
        paths.REPORT,
        BASE_FIGURE,
        f"{SWEEP}/cost.md",
        force_run=[BASE, STUDY_ADAPTERS, f"{HEADLINE}/{ADAPTER}"],


rule ablations:
    """Every enabled arm, and their report."""
    input:
        f"{ABLATIONS}/REPORT.md",
        force_run=[weights_of_arm(arm) for arm in ENABLED],


for arm_name in ARMS:

    rule:
        name:
            f"ablate_{arm_name}"
        input:
            f"{arm_folder(arm_name)}/{arm_name}.png",
            force_run=weights_of_arm(arm_name),
