"""The page, the table and the figure of several studies."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from finished_study import always, write_study
from markdown import cells, tables_of
from matplotlib.figure import Figure
from plotted import curves, error_bars, legend

from minituner.errors import UserError
from minituner.pipeline.finished import open_studies
from minituner.reporting import comparison_figure
from minituner.reporting.comparison import compare_studies, comparison_rows, differing_settings
from minituner.statistics.study_differences import Measure
from minituner.storage.files import write_text

BENCHMARK = "logs/train/28-lora-ablate-rank/rank-2.benchmark.tsv"


def test_the_three_files_hold_the_numbers_of_the_studies(tmp_path: Path) -> None:
    folders = [
        write_study(tmp_path / "a" / "study", always(False), base="a"),
        write_study(tmp_path / "b" / "study", base="b", train={"learning_rate": 0.5}),
    ]
    write_text(folders[0] / BENCHMARK, "s\th:m:s\tmax_rss\n12.4\t0:00:12\t345.6\n")
    compare_studies(folders, "accuracy", tmp_path / "out")
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"comparison.md", "comparison.csv", "comparison.png"}

    rows = list(csv.DictReader((tmp_path / "out/comparison.csv").open(encoding="utf-8")))
    assert [(row["study"], row["rank"]) for row in rows] == [
        ("a/study", "2"),
        ("a/study", "8"),
        ("b/study", "2"),
        ("b/study", "8"),
    ]
    assert [float(row["accuracy"]) for row in rows] == [0, 0, 1, 1]
    assert [row["train_seconds"] for row in rows] == ["12.4", "", "", ""]
    assert rows[0]["train_peak_mb"] == "345.6"
    assert (
        rows[2]
        | {
            "file_bytes": "2000",
            "trained_parameters": "200",
            "size_ratio": "0.002",
            "base_sha256": "b" * 64,
            "test_sha256": "t" * 64,
            "seeds": "0 1",
            "elbow_outcome": "ceiling",
            "elbow_rank": "",
            "base_margin_nats": "-1.0",
        }
        == rows[2]
    )

    page = (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    assert "| `train.learning_rate` | 0.0001 | 0.5 |" in page
    assert "| 2 | a/study | 0.0 % [" in page
    assert " | 12 | 346 |" in page
    assert "**b/study less a/study**" in page
    assert "| 8 | +100.0 [" in page
    assert "**ceiling**: every rank is at the top" in page


def test_the_page_compares_margins_if_asked(tmp_path: Path) -> None:
    folders = [write_study(tmp_path / name, always(name == "b")) for name in "ab"]
    compare_studies(folders, "margin_nats", tmp_path / "out")
    page = (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    assert "| 2 | b | +2.00 [no interval] |" in page
    assert "| 2 | +3.00 [no interval] |" in page


def test_studies_of_different_tasks_get_tables_of_their_own(tmp_path: Path) -> None:
    task = {"name": "French | plurals"}
    folders = [write_study(tmp_path / "a"), write_study(tmp_path / "b", task=task)]
    compare_studies(folders, "accuracy", tmp_path / "out")
    page = (tmp_path / "out/comparison.md").read_text(encoding="utf-8")
    assert page.index("### irregular verbs") < page.index("### French | plurals")
    assert "**b and a** cannot be paired: they are of different tasks" in page
    assert "French \\| plurals" in page
    for table in tables_of(page):
        assert len({cells(line) for line in table}) == 1


def test_only_settings_that_differ_are_listed(tmp_path: Path) -> None:
    folders = [
        write_study(tmp_path / "a"),
        write_study(tmp_path / "b", lora={"alpha": 64, "layers": "last 8"}),
    ]
    assert differing_settings(open_studies(folders)) == {
        "lora.alpha": ["16", "64"],
        "lora.layers": ["null", '"last 8"'],
    }
    assert differing_settings(open_studies(folders[:1])) == {}


def test_a_page_is_the_same_each_time_and_replaces_only_itself(tmp_path: Path) -> None:
    folders = [write_study(tmp_path / name) for name in "ab"]
    out = tmp_path / "out"
    compare_studies(folders, "accuracy", out)
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    compare_studies(folders, "accuracy", out)
    assert first == {path.name: path.read_bytes() for path in out.iterdir()}
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"cannot be replaced by a comparison(.|\n)*notes\.txt"):
        compare_studies(folders, "accuracy", out)
    assert (out / "notes.txt").read_text() == "mine"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that would have been saved."""
    figures: list[Figure] = []
    monkeypatch.setattr(comparison_figure, "save_figure", lambda figure, _: figures.append(figure))
    return figures


@pytest.mark.parametrize(("measure", "value"), [("accuracy", 100), ("margin_nats", 2)])
def test_the_figure_shows_each_task_on_axes_of_its_own(
    tmp_path: Path, drawn: list[Figure], measure: Measure, value: float
) -> None:
    task: dict[str, Any] = {"task": {"name": "costs of 5 $ and $x_{1$"}}
    folders = [
        write_study(tmp_path / "a"),
        write_study(tmp_path / "_b$"),
        write_study(tmp_path / "c", **task),
    ]
    studies = open_studies(folders)
    comparison_figure.plot_comparison(studies, comparison_rows(studies), measure, "x.png")
    (figure,) = drawn
    figure.draw_without_rendering()  # a formula in a name would fail here
    verbs, verbs_drift, costs, _, sizes, _ = figure.axes
    assert [axes.get_title() for axes in (verbs, costs)] == [
        "irregular verbs",
        r"costs of 5 \$ and \$x_{1\$",
    ]
    assert set(curves(verbs)) == {"a", r" _b\$"}
    assert set(curves(costs)) == {"c"}
    assert [y for _, y in curves(verbs)["a"]] == [value, value]
    ends = error_bars(verbs)["a"]
    assert (len(ends) == 2) == (measure == "accuracy")  # equal margins have no interval
    assert [y for _, y in curves(verbs_drift)["a"]] == pytest.approx([2.020134, 2.020134])
    assert [tuple(line.get_ydata()) for line in sizes.lines] == [(0.2, 0.8)] * 3
    assert legend(figure) == ["a", r" _b\$", "untuned base", "c"]
