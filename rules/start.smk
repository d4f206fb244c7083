"""Checks before the config is read: the folder that Snakemake runs in, its Python, and whether
config.yaml can be read. Snakemake's own messages name neither the file nor the line.
"""

import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.enums import Quietness

from minituner.errors import UserError, report_of
from minituner.pipeline.config import read_config
from minituner.pipeline.interpreter import one_word

PROJECT = Path(str(workflow.current_basedir)).parent


def stop(error):
    """End Snakemake with an error's text and no traceback."""
    message = f"{report_of(error)}\n"
    # With --quiet all Snakemake itself does not say why it ends.
    if Quietness.ALL in (workflow.output_settings.quiet or ()):
        print(message, file=sys.stderr)
    raise WorkflowError(message)


def exit_on_user_error(function, *arguments):
    """Call ``function``; a UserError ends Snakemake with its message and no traceback."""
    try:
        return function(*arguments)
    except UserError as error:
        stop(error)


if not PROJECT.samefile("."):
    stop(
        "a study runs in the project's own folder, not from another one by -s, --directory or module,"
        f" so first: cd {shlex.quote(str(PROJECT))}"
    )

sys.executable = one_word(sys.executable)

# It may be missing: --configfile can replace all of it.
if Path("config.yaml").exists():
    exit_on_user_error(read_config, ["config.yaml"])
