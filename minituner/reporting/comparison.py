"""Several studies side by side: a page, a table as CSV and a figure."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minituner.pipeline import paths
from minituner.pipeline.finished import TEST_ITEMS, FinishedStudy, open_studies
from minituner.pipeline.nested import flatten
from minituner.reporting.comparison_figure import plot_comparison
from minituner.reporting.cost import read_measured
from minituner.reporting.rendering import render_template
from minituner.reporting.verdicts import sweep_verdict
from minituner.results import ComparisonRow
from minituner.statistics.study_differences import Measure, study_pairs
from minituner.storage.files import atomic_folder, write_text
from minituner.storage.replaceable import require_replaceable

TEMPLATE = Path(__file__).parent / "templates" / "COMPARISON.md.j2"
PAGE, TABLE, FIGURE = "comparison.md", "comparison.csv", "comparison.png"
SECTIONS = ("lora", "train", "compute")  # of the config: what a study may do differently
INTERVALS = ("accuracy", "margin_nats", "text_drift", "target_drift")


def compare_studies(folders: Sequence[str | Path], measure: Measure, output: str | Path) -> None:
    """Compare finished studies, and write the page, the table and the figure into a folder.

    Raises:
        UserError: A folder is not that of a finished study (see
            :func:`minituner.pipeline.finished.open_studies`), or ``output`` holds other files.
    """
    studies = open_studies(folders)
    require_replaceable(output, dict.fromkeys((PAGE, TABLE, FIGURE)), "comparison")
    rows = comparison_rows(studies)
    with atomic_folder(output) as partial:
        write_text(partial / PAGE, comparison_page(studies, rows, measure))
        write_text(partial / TABLE, _csv(rows))
        plot_comparison(studies, rows, measure, partial / FIGURE)


def comparison_rows(studies: Sequence[FinishedStudy]) -> list[dict[str, Any]]:
    """A row per study and rank, with the columns of the CSV; what is not known is ``None``."""
    return [_row(study, row) for study in studies for row in study.summary["ranks"]]


def _row(study: FinishedStudy, row: ComparisonRow) -> dict[str, Any]:
    benchmark = f"logs/train/{Path(paths.SWEEP).name}/rank-{row['rank']}.benchmark.tsv"
    seconds, peak_mb = read_measured(study.path(benchmark)) or (None, None)
    return {
        "study": study.label,
        "task": study.task_name,
        "scoring": study.config["task"]["scoring"],
        "test_items": study.summary["test_items"],
        "test_sha256": study.base_manifest["inputs"].get(TEST_ITEMS),
        "base": study.base_name,
        "base_sha256": study.base_manifest["base_checkpoint_sha256"],
        "seeds": " ".join(map(str, study.summary["seeds"])),
        "confidence": study.summary["confidence"],
        "base_accuracy": study.summary["base_accuracy"]["mean"],
        "base_margin_nats": study.base_metrics["test"]["margin_nats"],
        "rank": row["rank"],
        **{
            f"{name}{suffix}": row[name][end]  # type: ignore[literal-required]
            for name in INTERVALS
            for suffix, end in (("", "mean"), ("_low", "low"), ("_high", "high"))
        },
        "trained_parameters": row["trained_parameters"],
        "file_bytes": row["file_bytes"],
        "size_ratio": row["size_ratio"],
        "train_seconds": seconds,
        "train_peak_mb": peak_mb,
        "elbow_outcome": study.summary["elbow"]["outcome"],
        "elbow_rank": study.summary["elbow"]["rank"],
    }


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, rows[0].keys(), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def comparison_page(
    studies: Sequence[FinishedStudy], rows: Sequence[dict[str, Any]], measure: Measure
) -> str:
    """The page in Markdown: what each study is, its results by rank, and the differences."""
    tasks = dict.fromkeys(study.task_name for study in studies)
    return render_template(
        TEMPLATE,
        {
            "measure": measure,
            "figure": FIGURE,
            "table": TABLE,
            "studies": studies,
            "verdicts": {study.label: sweep_verdict(study.summary) for study in studies},
            "settings": differing_settings(studies),
            "firsts": {row["study"]: row for row in reversed(rows)},
            "tasks": {
                task: sorted(
                    (row for row in rows if row["task"] == task), key=lambda row: row["rank"]
                )
                for task in tasks
            },
            "pairs": study_pairs(studies, measure),
        },
    )


def differing_settings(studies: Sequence[FinishedStudy]) -> dict[str, list[str]]:
    """The settings of the adapter and its training that are not the same in all studies.

    Returns:
        By dotted key the value of each study as it would be in its config, ``-`` if it has none.
    """
    settings = [
        {
            f"{section}.{key}": value
            for section in SECTIONS
            for key, value in flatten(study.config.get(section, {}))
        }
        for study in studies
    ]
    keys = dict.fromkeys(key for own in settings for key in own)
    shown = {key: [json.dumps(own[key]) if key in own else "-" for own in settings] for key in keys}
    return {key: values for key, values in shown.items() if len(set(values)) > 1}
