"""All figures with awkward numbers: no legend over a point, nothing cut off, the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from example_results import arm_row, arm_summary, comparison_row, sweep_summary
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from minituner.reporting import ablation_plots, plots
from minituner.reporting.figures import style_of
from minituner.results import ArmRow, ComparisonRow

LONG = "a-setting-whose-name-says-all-that-it-changes-and-then-goes-on-to-say-why-it-does-so"


def no_update(rank: int) -> ComparisonRow:
    audit = {"layer": "all", "relative_norm": 0.0, "effective_rank": 1.0, "largest_b": 0.0}
    return comparison_row(rank) | cast(Any, {"scale_audit": [audit]})


SWEEPS = {
    "ranks 3, 5, 7 that learn little": sweep_summary(
        [comparison_row(r, 0.2) for r in (3, 5, 7)], 0.15
    ),
    "all wrong": sweep_summary([comparison_row(r, 0.0) for r in (2, 4, 8, 16, 32)], 0.0),
    "all right": sweep_summary([comparison_row(r, 1.0) for r in (2, 4, 8, 16, 32)], 1.0),
    "one rank": sweep_summary([comparison_row(8)]),
    "one rank of 1": sweep_summary([comparison_row(1)]),
    "twelve ranks": sweep_summary([comparison_row(r, 0.05 * r) for r in range(1, 13)]),
    "twelve large ranks": sweep_summary([comparison_row(r, 0.5) for r in range(500, 512)]),
    "no intervals": sweep_summary([comparison_row(r, reach=None) for r in (2, 4)]),
    "falling drift": sweep_summary([comparison_row(r, drift=-0.2 / r) for r in (2, 4, 8)]),
    "huge drift": sweep_summary([comparison_row(r, drift=10.0**r) for r in (2, 4, 6)]),
    "no update": sweep_summary([no_update(r) for r in (2, 4)]),
    "a rise that ends where a legend would be": sweep_summary(
        [comparison_row(2, 0.99), comparison_row(32, 0.02)]
    ),
}


def spread(n: int, name: str = "run", **other: Any) -> list[ArmRow]:
    """So many runs all over the plane."""
    return [
        arm_row(8, (i * 7 % n) / max(1, n - 1), 0.004 * i, run=f"{name}-{i}", **other)
        for i in range(n)
    ]


ARMS = {
    "one run": arm_summary(spread(1)),
    "thirty runs": arm_summary(spread(30)),
    "long names": arm_summary(spread(5, LONG)),
    "falling drift": arm_summary([arm_row(8, 0.9, -0.3, run="a"), arm_row(8, 0.1, -0.01, run="b")]),
    "huge drift": arm_summary(
        [arm_row(8, 0.9, 5e4, run="a"), arm_row(None, 0.1, 0.0, run="b", size_ratio=1.0)]
    ),
    "all the same": arm_summary([arm_row(8, 0.5, 0.0, run=name) for name in "abc"]),
    "over ranks": arm_summary(
        [arm_row(r, 0.03 * r, run=name) for name in "abc" for r in (3, 5, 7)]
    ),
    "over close ranks": arm_summary(
        [arm_row(r, 0.5, run=name) for name in "abcde" for r in range(500, 504)]
    ),
    "over ranks, long names": arm_summary(
        [arm_row(r, 0.5, run=f"{LONG}-{i}") for i in range(9) for r in (2, 64)]
    ),
}


def fine_tuning(low: float, folder: Path) -> Path:
    """A log whose losses fall from 3 to ``low``, its points in every corner."""
    losses = np.linspace(3, low, 10)
    log = pd.DataFrame({"step": range(10), "train_loss": losses, "val_loss": losses[::-1]})
    log["control_perplexity"] = np.linspace(1, 400, 10)
    log.to_csv(folder / "log.csv", index=False)
    return folder / "log.csv"


def short_log(folder: Path) -> Path:
    """One measurement, no control."""
    log = pd.DataFrame({"step": [0], "train_loss": [0.5], "val_loss": [0.4]})
    log.assign(control_perplexity=np.nan).to_csv(folder / "log.csv", index=False)
    return folder / "log.csv"


Draw = Callable[[Path], None]
FIGURES: dict[str, Draw] = {
    **{
        f"{kind}, {name}": draw
        for name, summary in SWEEPS.items()
        for kind, draw in {
            "accuracy": lambda f, s=summary: plots.plot_accuracy_vs_rank(s, 10, f / "figure.png"),
            "drift": lambda f, s=summary: plots.plot_drift_vs_rank(
                s, {"control_ppl_drift": 0.05}, f / "figure.png"
            ),
            "scale": lambda f, s=summary: plots.plot_scale_vs_rank(s, f / "figure.png"),
        }.items()
    },
    **{
        f"arm, {name}": lambda f, s=summary: ablation_plots.plot_arm(s, 0.05, f / "figure.png")
        for name, summary in ARMS.items()
    },
    "every arm": lambda f: ablation_plots.plot_learned_vs_forgotten(ARMS, 0.05, f / "figure.png"),
    "no arm": lambda f: ablation_plots.plot_learned_vs_forgotten({}, 0.05, f / "figure.png"),
    "the study alone": lambda f: ablation_plots.plot_learned_vs_forgotten(
        {"scaling": arm_summary([arm_row(8, is_study=True)])}, 0.05, f / "figure.png"
    ),
    "fine-tuning": lambda f: plots.plot_fine_tuning(fine_tuning(0.0, f), f / "figure.png"),
    "short fine-tuning": lambda f: plots.plot_fine_tuning(short_log(f), f / "figure.png"),
    "pretraining": lambda f: plots.plot_pretraining(fine_tuning(0.0, f), f / "figure.png"),
    "pretraining that ends high": lambda f: plots.plot_pretraining(
        fine_tuning(2.9, f), f / "figure.png"
    ),
    "short pretraining": lambda f: plots.plot_pretraining(short_log(f), f / "figure.png"),
}


def drawn_points(figure: Figure) -> Iterator[tuple[float, float, float]]:
    """Every marker, end of a line and end of an error bar: x, y and radius in pixels."""
    point = figure.dpi / 72
    for axes in figure.axes:
        for line in axes.lines:
            x, y = line.get_transform().transform(line.get_xydata()).T
            radius = point * line.get_markersize() / 2 if line.get_marker() != "None" else 0
            yield from ((a, b, radius) for a, b in zip(x, y, strict=True))
        for collection in axes.collections:
            if isinstance(collection, PathCollection):
                places = collection.get_offset_transform().transform(collection.get_offsets())
                radius = point * float(max(collection.get_sizes())) ** 0.5 / 2
                yield from ((float(x), float(y), radius) for x, y in places)
            elif isinstance(collection, LineCollection):
                for segment in collection.get_segments():
                    ends = collection.get_transform().transform(segment)
                    yield from ((float(x), float(y), 0) for x, y in ends)


def cut_markers(figure: Figure) -> Iterator[str]:
    """The lines of which a marker is not whole: what lies outside the axes is not drawn."""
    for axes in figure.axes:
        inside = axes.get_window_extent().padded(1)
        for line in axes.lines:
            x, y = line.get_transform().transform(line.get_xydata()).T
            radius = figure.dpi / 72 * line.get_markersize() / 2
            within = (inside.x0 <= x - radius) & (x + radius <= inside.x1)
            within &= (inside.y0 <= y - radius) & (y + radius <= inside.y1)
            if line.get_marker() not in ("None", "|", "_") and not within.all():
                yield str(line.get_label())


def texts(figure: Figure) -> list[Text]:
    """All that is written outside the legends."""
    own = set(figure.texts)
    for axes in figure.axes:
        own |= {axes.xaxis.label, axes.yaxis.label, axes.title, *axes.texts}
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            own |= {
                tick.label2 if tick.label2.get_visible() else tick.label1
                for tick in axis.get_major_ticks()
                if low <= tick.get_loc() <= high
            }
    return [text for text in own if text.get_text() and text.get_visible()]


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_covered_or_cut_off(name: str, drawn: list[Figure], tmp_path: Path) -> None:
    FIGURES[name](tmp_path)
    (figure,) = drawn
    page = Bbox.from_bounds(0, 0, *figure.canvas.get_width_height())
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    boxes = [legend.get_window_extent() for legend in legends]
    assert len(boxes) == (name != "no arm")
    for x, y, radius in drawn_points(figure):
        if np.isfinite([x, y]).all():
            assert page.x0 <= x - radius <= x + radius <= page.x1
            assert page.y0 <= y - radius <= y + radius <= page.y1
            assert not any(box.padded(radius).contains(x, y) for box in boxes)
    assert not list(cut_markers(figure))
    written = [text.get_window_extent() for text in texts(figure)]
    for i, extent in enumerate(written):
        assert not any(extent.overlaps(other) for other in [*boxes, *written[:i]])
    for extent in [*boxes, *written]:
        assert page.padded(1).containsx(extent.x0) and page.padded(1).containsx(extent.x1)
        assert page.padded(1).containsy(extent.y0) and page.padded(1).containsy(extent.y1)


def test_the_same_numbers_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("accuracy, twelve ranks", "arm, long names", "pretraining"):
        files = []
        for _ in range(2):
            FIGURES[name](tmp_path)
            files.append((tmp_path / "figure.png").read_bytes())
        assert files[0] == files[1], name


def test_add_legend_keeps_the_height_of_the_axes(drawn: list[Figure], tmp_path: Path) -> None:
    for name in ("arm, one run", "arm, thirty runs", "arm, long names"):
        FIGURES[name](tmp_path)
    heights = [figure.axes[0].get_window_extent().height for figure in drawn]
    assert max(heights) - min(heights) < 10


def test_style_of_tells_64_series_apart() -> None:
    styles = [style_of(i)[:2] for i in range(64)]
    assert len(set(styles)) == 64
    assert len({color for color, _ in styles[:8]}) == len({marker for _, marker in styles[:8]}) == 8
    assert all(left != right for left, right in pairwise(styles))
