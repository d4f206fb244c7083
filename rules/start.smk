"""Checks before the config is read: the study's folder, its Python, and whether config.yaml can be
read. Snakemake's own messages name neither the file nor the line.
"""

import os
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.enums import Quietness
from snakemake.settings.types import ExecMode

from minituner.errors import UserError, report_of
from minituner.pipeline.config import default_files, read_config, require_study
from minituner.pipeline.interpreter import one_word
from minituner.pipeline.project import PROJECT, from_study, link_project


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


exit_on_user_error(link_project)
sys.executable = one_word(sys.executable)

# Jobs run this package too, whichever one is installed.
searched = [str(PROJECT), *filter(None, os.environ.get("PYTHONPATH", "").split(":"))]
os.environ.update(PYTHONPATH=":".join(dict.fromkeys(searched)))
# The folder as the user named it, for commands in messages; jobs inherit it.
if workflow.exec_mode == ExecMode.DEFAULT:
    os.environ.update(MINITUNER_STUDY=str(workflow.overwrite_workdir or "."))
FOLDER = os.environ.get("MINITUNER_STUDY", ".")

# Whether it is a module of another Snakefile, which passes the config.
IN_MODULE = not workflow.modifier.is_main_snakefile()
DEFAULTS = exit_on_user_error(read_config, default_files())

# It may be missing: --configfile can replace all of it.
if not IN_MODULE and (
    Path("config.yaml").exists() or not workflow.overwrite_configfiles
):
    exit_on_user_error(require_study, FOLDER)
    exit_on_user_error(read_config, ["config.yaml"])
