"""Figures as objects instead of files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from minituner.reporting import ablation_plots, plots


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures that the test has drawn, in their order."""
    figures: list[Figure] = []

    def keep(figure: Figure, _path: str | Path) -> None:
        figure.canvas.draw()
        figures.append(figure)

    for module in (plots, ablation_plots):
        monkeypatch.setattr(module, "save_figure", keep)
    yield figures
    plt.close("all")
