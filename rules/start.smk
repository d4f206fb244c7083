"""What must hold before the config is read: the folder that Snakemake runs in, its Python, and a
config.yaml that can be read. Snakemake's own messages name neither the file nor the line.
"""

import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.enums import Quietness

from minituner.pipeline.config import read_config
from minituner.errors import UserError
from minituner.pipeline.interpreter import one_word

PROJECT = Path(str(workflow.current_basedir)).parent


def stop(reason):
    """End Snakemake with a message and no traceback."""
    message = f"minituner cannot go on{reason}"
    # Snakemake itself would then not say why it ends.
    if Quietness.ALL in (workflow.output_settings.quiet or ()):
        print(message, file=sys.stderr)
    raise WorkflowError(message)


def or_stop(function, *arguments):
    """Call ``function``; a user's mistake ends Snakemake with its message."""
    try:
        return function(*arguments)
    except UserError as error:
        stop(f".\n\n{error}\n")


if not PROJECT.samefile("."):
    stop(
        ": a study runs in the project's own folder, not from another one by -s, --directory or module,"
        f" so first: cd {shlex.quote(str(PROJECT))}"
    )

sys.executable = one_word(sys.executable)

if Path("config.yaml").exists():  # it need not, where all of it comes by --configfile
    or_stop(read_config, ["config.yaml"])
