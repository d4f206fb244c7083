"""The table of what the training jobs took."""

from __future__ import annotations

from pathlib import Path

from minituner.reporting.cost import cost_table


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
