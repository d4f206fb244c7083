"""The Jinja environment of the reports: a name that no results file holds is an error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial, wraps
from pathlib import Path
from typing import Any

import jinja2

from minituner import commands
from minituner.pipeline.project import from_study
from minituner.reporting.formats import FILTERS


@cache
def environment(folder: str | Path) -> jinja2.Environment:
    """An environment with the templates of one folder, which may import each other's macros."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    made.filters.update({name: _of_defined(function) for name, function in FILTERS.items()})
    made.globals.update(
        snakemake=partial(commands.snakemake, inside=True),
        reproduce=commands.reproduce,
        in_project=from_study,
    )
    return made


def render_template(template: str | Path, context: Mapping[str, Any]) -> str:
    """A template with its values filled in.

    Raises:
        jinja2.UndefinedError: The template uses a name that the context lacks.
    """
    path = Path(template)
    return environment(path.parent).get_template(path.name).render(context)


def _of_defined(function: Callable[..., str]) -> Callable[..., str]:
    """A filter that names an undefined value, which would fail without its name in a format."""

    @wraps(function)
    def checked(value: Any, *arguments: Any) -> str:
        if isinstance(value, jinja2.Undefined):
            str(value)  # raises jinja2.UndefinedError
        return function(value, *arguments)

    return checked
