"""Types of the results: they describe the committed files, and reading refuses anything else."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints, is_typeddict

import pytest
from project import ROOT

from minituner.errors import UserError
from minituner.results import (
    AdapterTrainingSummary,
    ArmSummary,
    Gates,
    HeadlineMetrics,
    ModelMetrics,
    PretrainingSummary,
    SweepSummary,
    TrainingSummary,
    TunedMetrics,
    read_results,
)
from minituner.storage.files import write_json

SWEEP = "28-lora-ablate-rank"
COMMITTED: dict[str, Any] = {
    "17-minigpt-train/pretraining.json": PretrainingSummary,
    f"{SWEEP}/base/metrics.json": ModelMetrics,
    f"{SWEEP}/rank-8/metrics.json": TunedMetrics,
    f"{SWEEP}/rank-8/training.json": AdapterTrainingSummary,
    f"{SWEEP}/summary.json": SweepSummary,
    "28-lora-finetune/metrics.json": HeadlineMetrics,
    "28-lora-finetune/gates.json": Gates,
    "28-lora-ablate-full/lr-1e-4/metrics.json": TunedMetrics,
    "28-lora-ablate-full/lr-1e-4/training.json": TrainingSummary,
    "28-lora-ablate-full/summary.json": ArmSummary,
    "28-lora-ablate-scaling/summary.json": ArmSummary,
    "28-lora-ablate-targets/summary.json": ArmSummary,
}


def mismatches(value: Any, kind: Any, place: str = "") -> list[str]:
    """Where ``value`` is not what the type says."""
    if is_typeddict(kind):
        if not isinstance(value, dict):
            return [f"{place}: {value!r}"]
        hints = get_type_hints(kind)
        keys = [
            f"{place}: {key}"
            for key in (kind.__required_keys__ - value.keys()) | (value.keys() - hints.keys())
        ]
        return keys + [
            found
            for key in value.keys() & hints.keys()
            for found in mismatches(value[key], hints[key], f"{place}.{key}")
        ]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        options = [mismatches(value, option, place) for option in arguments]
        return min(options, key=len)
    if origin is list and isinstance(value, list):
        return [x for item in value for x in mismatches(item, arguments[0], f"{place}[]")]
    if origin is dict and isinstance(value, dict):
        return [x for key in value for x in mismatches(value[key], arguments[1], f"{place}.{key}")]
    plain = (float, int) if kind is float else kind
    return [] if kind is Any or isinstance(value, plain) else [f"{place}: {value!r}"]


@pytest.mark.parametrize("path", COMMITTED)
def test_results_types_describe_the_committed_files(path: str) -> None:
    kind = COMMITTED[path]
    assert mismatches(read_results(ROOT / "experiments" / path, kind), kind) == []


@pytest.mark.parametrize("value", [[], {"runs": []}])
def test_read_results_refuses_another_file(value: object, tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    write_json(path, value)
    with pytest.raises(UserError, match=r"metrics\.json") as refusal:
        read_results(path, TunedMetrics)
    assert "trained_parameters" in str(refusal.value)
