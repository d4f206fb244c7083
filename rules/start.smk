"""What must hold before the config is read: the folder that Snakemake runs in, its Python, and a
config.yaml that can be read. Snakemake's own messages name neither the file nor the line.
"""

import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from minituner.config import read_config
from minituner.errors import UserError
from minituner.interpreter import one_word

PROJECT = Path(str(workflow.current_basedir)).parent


def or_stop(function, *arguments):
    """Call ``function``; a user's mistake ends Snakemake with its message and no traceback."""
    try:
        return function(*arguments)
    except UserError as error:
        raise WorkflowError(f"minituner cannot go on.\n\n{error}\n")


if not PROJECT.samefile("."):
    raise WorkflowError(
        "minituner cannot go on: a study runs in the project's own folder, not from another one by -s,"
        f" --directory or module, so first: cd {shlex.quote(str(PROJECT))}"
    )

sys.executable = one_word(sys.executable)

if Path("config.yaml").exists():  # it need not, where all of it comes by --configfile
    or_stop(read_config, ["config.yaml"])
