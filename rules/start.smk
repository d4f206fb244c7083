"""What must hold before the config is read: the folder that Snakemake runs in, and its Python."""

import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from minituner.interpreter import one_word

PROJECT = Path(str(workflow.current_basedir)).parent

if not PROJECT.samefile("."):
    raise WorkflowError(
        "minituner cannot go on: a study runs in the project's own folder, not from another one by -s,"
        f" --directory or module, so first: cd {shlex.quote(str(PROJECT))}"
    )

sys.executable = one_word(sys.executable)
