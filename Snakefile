"""minituner: what does a LoRA adapter of rank r buy, and what does it break?

corpus -> filter -> split -> tokenize -> train -> evaluate -> headline -> plot -> render
           base corpus -> train_tokenizer -> pretrain_base -^
"""

from snakemake.utils import min_version

min_version("9.27.1")


configfile: "config.yaml"


report: "rules/captions/workflow.rst"


include: "rules/common.smk"
include: "rules/base.smk"
include: "rules/data.smk"
include: "rules/experiment.smk"
include: "rules/report.smk"


rule report:
    """The whole study. Results are committed but weights are not: requiring the weights too makes
    a fresh clone run the study instead of finding nothing to do."""
    default_target: True
    input:
        "REPORT.md",
        BASE_FIGURE,
        headline=f"{HEADLINE}/adapter_final.pt",
        adapters=[path for rank in config["ranks"] for path in adapters(rank)],
        base=BASE,
