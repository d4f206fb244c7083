"""The figures with awkward numbers: no legend over what is drawn, and nothing cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox
from project import ROOT

from minituner.reporting import plots
from minituner.reporting.figures import style_of

LONG = "a-setting-whose-name-says-all-that-it-changes-and-then-goes-on-to-say-why-it-does-so"


def estimate(mean: float, reach: float | None = 0.05) -> dict[str, float | None]:
    if reach is None:
        return {"mean": mean, "low": None, "high": None}
    return {"mean": mean, "low": mean - reach, "high": mean + reach}


def row(
    rank: int | None,
    accuracy: float = 0.9,
    drift: float = 0.01,
    reach: float | None = 0.05,
    **other: Any,
) -> dict[str, Any]:
    audit = {"relative_norm": 0.05, "effective_rank": 1.5, "largest_b": 0.01}
    return {
        "run": "lora",
        "rank": rank,
        "folder": f"experiments/{rank}",
        "is_study": False,
        "size_ratio": 0.008,
        "base_accuracy": 0.5,
        "accuracy": estimate(accuracy, None if reach is None else min(accuracy, 1 - accuracy)),
        "gain": estimate(accuracy - 0.5, reach),
        "text_drift": estimate(drift, reach),
        "target_drift": estimate(3 * drift, reach),
        "accuracy_by_seed": [accuracy, max(0.0, accuracy - 0.1), min(1.0, accuracy + 0.1)],
        "text_drift_by_seed": [drift, 1.2 * drift, 0.8 * drift],
        "target_drift_by_seed": [3 * drift, 3.3 * drift, 2.7 * drift],
        "scale_audit": [
            {"layer": layer, **audit} for layer in ("blocks.0.mlp.fc1", "blocks.0.mlp.fc2", "all")
        ],
    } | other


def sweep(rows: list[dict[str, Any]], base: float = 0.5) -> dict[str, Any]:
    return {
        "test_items": 52,
        "confidence": 0.9,
        "base_accuracy": estimate(base),
        "ranks": rows,
    }


SWEEPS = {
    "ranks 3, 5, 7 that learn little": sweep([row(r, 0.2) for r in (3, 5, 7)], 0.15),
    "all wrong": sweep([row(r, 0.0) for r in (2, 4, 8, 16, 32)], 0.0),
    "all right": sweep([row(r, 1.0) for r in (2, 4, 8, 16, 32)], 1.0),
    "one rank": sweep([row(8)]),
    "one rank of 1": sweep([row(1)]),
    "twelve ranks": sweep([row(r, 0.05 * r) for r in range(1, 13)]),
    "twelve large ranks": sweep([row(r, 0.5) for r in range(500, 512)]),
    "no intervals": sweep([row(r, reach=None) for r in (2, 4)]),
    "falling drift": sweep([row(r, drift=-0.2 / r) for r in (2, 4, 8)]),
    "huge drift": sweep([row(r, drift=10.0**r) for r in (2, 4, 6)]),
    "no update": sweep(
        [
            row(r, scale_audit=[{"layer": "all", "relative_norm": 0.0, "effective_rank": 1.0}])
            for r in (2, 4)
        ]
    ),
    "a rise that ends where a legend would be": sweep([row(2, 0.99), row(32, 0.02)]),
}


def arm(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "confidence": 0.95,
        "rows": rows,
        "front": [{"run": row["run"], "rank": row["rank"]} for row in rows[:2]],
    }


def spread(n: int, name: str = "run", **other: Any) -> list[dict[str, Any]]:
    """So many runs all over the plane."""
    return [
        row(8, (i * 7 % n) / max(1, n - 1), 0.004 * i, run=f"{name}-{i}", **other) for i in range(n)
    ]


ARMS = {
    "one run": arm(spread(1)),
    "thirty runs": arm(spread(30)),
    "long names": arm(spread(5, LONG)),
    "falling drift": arm([row(8, 0.9, -0.3, run="a"), row(8, 0.1, -0.01, run="b")]),
    "huge drift": arm([row(8, 0.9, 5e4, run="a"), row(None, 0.1, 0.0, run="b", size_ratio=1.0)]),
    "all alike": arm([row(8, 0.5, 0.0, run=name) for name in "abc"]),
    "over ranks": arm([row(r, 0.03 * r, run=name) for name in "abc" for r in (3, 5, 7)]),
    "over close ranks": arm([row(r, 0.5, run=name) for name in "abcde" for r in range(500, 504)]),
    "over ranks, long names": arm(
        [row(r, 0.5, run=f"{LONG}-{i}") for i in range(9) for r in (2, 64)]
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
            "drift": lambda f, s=summary: plots.plot_drift_vs_rank(s, 0.05, f / "figure.png"),
            "scale": lambda f, s=summary: plots.plot_scale_vs_rank(s, f / "figure.png"),
        }.items()
    },
    **{
        f"arm, {name}": lambda f, s=summary: plots.plot_arm(s, 0.05, f / "figure.png")
        for name, summary in ARMS.items()
    },
    "every arm": lambda f: plots.plot_learned_vs_forgotten(ARMS, 0.05, f / "figure.png"),
    "no arm": lambda f: plots.plot_learned_vs_forgotten({}, 0.05, f / "figure.png"),
    "the study alone": lambda f: plots.plot_learned_vs_forgotten(
        {"scaling": arm([row(8, is_study=True)])}, 0.05, f / "figure.png"
    ),
    "fine-tuning": lambda f: plots.plot_fine_tuning(fine_tuning(0.0, f), f / "figure.png"),
    "short fine-tuning": lambda f: plots.plot_fine_tuning(short_log(f), f / "figure.png"),
    "pretraining": lambda f: plots.plot_pretraining(fine_tuning(0.0, f), f / "figure.png"),
    "pretraining that ends high": lambda f: plots.plot_pretraining(
        fine_tuning(2.9, f), f / "figure.png"
    ),
    "short pretraining": lambda f: plots.plot_pretraining(short_log(f), f / "figure.png"),
}


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures that were drawn, instead of files."""
    figures: list[Figure] = []

    def keep(figure: Figure, _path: Path) -> None:
        figure.canvas.draw()
        figures.append(figure)

    monkeypatch.setattr(plots, "save_figure", keep)
    yield figures
    plt.close("all")


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
def test_nothing_is_covered_and_nothing_is_cut_off(
    name: str, kept: list[Figure], tmp_path: Path
) -> None:
    FIGURES[name](tmp_path)
    (figure,) = kept
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
        drawn = []
        for _ in range(2):
            FIGURES[name](tmp_path)
            drawn.append((tmp_path / "figure.png").read_bytes())
        assert drawn[0] == drawn[1], name


def test_the_axes_keep_their_height_whatever_the_legend_takes(
    kept: list[Figure], tmp_path: Path
) -> None:
    for name in ("arm, one run", "arm, thirty runs", "arm, long names"):
        FIGURES[name](tmp_path)
    heights = [figure.axes[0].get_window_extent().height for figure in kept]
    assert max(heights) - min(heights) < 10


def test_the_intervals_of_a_rank_stay_beside_it(kept: list[Figure], tmp_path: Path) -> None:
    FIGURES["arm, over close ranks"](tmp_path)
    curves = [line.get_xdata() for line in kept[0].axes[0].lines if line.get_linestyle() != "None"]
    assert len(curves) == 5
    by_rank = np.array(curves, dtype=float).T  # (ranks, runs)
    assert np.allclose(by_rank.mean(axis=1), range(500, 504), atol=0.01)
    assert (by_rank.max(axis=1)[:-1] < by_rank.min(axis=1)[1:]).all()


def test_the_legend_names_the_confidence_that_was_asked_for(
    kept: list[Figure], tmp_path: Path
) -> None:
    FIGURES["accuracy, one rank"](tmp_path)
    labels = [text.get_text() for text in kept[0].legends[0].get_texts()]
    assert "after LoRA: mean and 90 % interval" in labels


def test_sixty_four_runs_are_told_apart() -> None:
    styles = [style_of(i)[:2] for i in range(64)]
    assert len(set(styles)) == 64
    assert len({color for color, _ in styles[:8]}) == len({marker for _, marker in styles[:8]}) == 8
    assert all(left != right for left, right in pairwise(styles))


@pytest.mark.parametrize("name", ["accuracy_vs_rank", "ablation"])
def test_a_caption_names_the_confidence_that_was_asked_for(name: str) -> None:
    """As Snakemake's report fills it in, with the workflow's config at hand."""
    text = (ROOT / f"rules/captions/{name}.rst").read_text(encoding="utf-8")
    snakemake = SimpleNamespace(config={"statistics": {"confidence": 0.9}})
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    assert "with 90 % intervals" in environment.from_string(text).render(snakemake=snakemake)
