"""How a user's mistake ends Snakemake, and the first place to look for one. Included before the
config is read: of a file that is not YAML, Snakemake's own message names neither file nor line.
"""

from pathlib import Path

from snakemake.exceptions import WorkflowError

from minituner.config import read_config
from minituner.errors import UserError


def or_stop(function, *arguments):
    """Call ``function``; a user's mistake ends Snakemake with its message and no traceback."""
    try:
        return function(*arguments)
    except UserError as error:
        raise WorkflowError(f"minituner cannot go on.\n\n{error}\n")


if Path("config.yaml").exists():  # it need not, where all of it comes by --configfile
    or_stop(read_config, ["config.yaml"])
