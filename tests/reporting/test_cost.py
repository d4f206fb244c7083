"""The table of what the training jobs took."""

from __future__ import annotations

from pathlib import Path

from minituner.reporting.cost import Measured, cost_table, read_measured
from minituner.storage.files import write_json


def test_cost_table_reads_snakemakes_benchmark_files(tmp_path: Path) -> None:
    header = "s\th:m:s\tmax_rss\tmax_vms\tmax_uss\tmax_pss\tio_in\tio_out\tmean_load\tcpu_time\n"
    (tmp_path / "a.tsv").write_text(header + "83.6\t0:01:23\t443.6\t9\t9\t9\t0\t0\t44.5\t37.1\n")
    (tmp_path / "b.tsv").write_text(header + "0.2\t0:00:00\tNA\tNA\tNA\tNA\tNA\tNA\tNA\tNA\n")
    names = {"rank 2": "a.tsv", "rank 4": "b.tsv", "rank 8": "gone.tsv"}
    table = cost_table({name: tmp_path / file for name, file in names.items()})
    assert table.splitlines()[-3:] == [
        "| rank 2 | 84 | 444 |",
        "| rank 4 | 0 | - |",
        "| rank 8 | - | - |",
    ]
    assert "predicted" not in table


def test_cost_table_shows_what_was_predicted(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("s\tmax_rss\n83.6\t443.6\n")
    write_json(tmp_path / "plan.json", {"rank 2": {"seconds": 90.4, "memory_mb": 400.0}})
    names = {"the base": tmp_path / "gone.tsv", "rank 2": tmp_path / "a.tsv"}
    assert cost_table(names, tmp_path / "plan.json").splitlines()[-4:] == [
        "| job | wall, s | peak memory, MB | predicted, s | predicted, MB |",
        "|---|---|---|---|---|",
        "| the base | - | - | - | - |",
        "| rank 2 | 84 | 444 | 90 | 400 |",
    ]
    assert cost_table(names, tmp_path / "none.json") == cost_table(names)
    assert read_measured(tmp_path / "a.tsv") == Measured(83.6, 443.6)
    assert read_measured(tmp_path / "gone.tsv") is None
