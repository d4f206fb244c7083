"""One setting evaluated with every seed: each as if it were alone, over an unchanged base."""

from __future__ import annotations

import copy
import json
import math
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from models import PAD_ID, tuned_copy
from torch import Tensor

from minituner import evaluate_seeds
from minituner.data.pairs import TokenizedPair, pair_rows
from minituner.errors import UserError
from minituner.evaluate import evaluate_model
from minituner.evaluate_seeds import (
    BaseChangedError,
    evaluate_adapters,
    evaluate_base,
    evaluate_full,
    evaluate_setting,
    max_abs_difference,
    stored_size,
)
from minituner.model import MiniGPT
from minituner.results import ItemRow, ModelMetrics
from minituner.scoring import ScoringBatches
from minituner.storage.adapter import load_adapter, save_adapter
from minituner.storage.checkpoint import save_base
from minituner.storage.files import write_json, write_jsonl
from minituner.storage.tensors import weights_sha256
from minituner.tokenizer import TextTokenizer, save_tokenizer


def evaluated(
    model: MiniGPT, tokenizer: TextTokenizer, splits: dict[str, list[TokenizedPair]]
) -> tuple[ModelMetrics, list[ItemRow]]:
    batches = {name: ScoringBatches.of(pairs, PAD_ID) for name, pairs in splits.items()}
    return evaluate_model(model, tokenizer, batches)


def test_max_abs_difference_of_equal_weights_is_zero(base: MiniGPT) -> None:
    assert max_abs_difference(base.state_dict(), copy.deepcopy(base).state_dict()) == 0.0


def test_max_abs_difference_is_that_of_any_tensor() -> None:
    left = {"a": torch.zeros(3), "b": torch.tensor([[1.0, 2.0]]), "c": torch.zeros(2)}
    right = {"a": torch.zeros(3), "b": torch.tensor([[1.0, -0.5]]), "c": torch.full((2,), 0.25)}
    assert max_abs_difference(left, right) == max_abs_difference(right, left) == 2.5


@pytest.mark.parametrize(
    "other", [{}, {"a": torch.zeros(3), "b": torch.zeros(1)}, {"b": torch.zeros(3)}]
)
def test_max_abs_difference_refuses_other_names(other: dict[str, Tensor]) -> None:
    with pytest.raises(ValueError, match="tensors differ"):
        max_abs_difference({"a": torch.zeros(3)}, other)


def test_max_abs_difference_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"^a: \(3, 1\) and \(3,\)"):
        max_abs_difference({"a": torch.zeros(3, 1)}, {"a": torch.zeros(3)})


def test_max_abs_difference_of_nan_is_not_zero() -> None:
    left = {"a": torch.zeros(2), "b": torch.zeros(2)}
    assert max_abs_difference(left, left | {"b": torch.full((2,), math.nan)}) != 0


def test_stored_size_is_that_of_the_largest_file(tmp_path: Path) -> None:
    for name, size in (("base", 50), ("one", 4), ("two", 10)):
        (tmp_path / name).write_bytes(b"x" * size)
    found = stored_size(tmp_path / "base", [tmp_path / "one", tmp_path / "two"])
    assert found == {"file_bytes": 10, "size_ratio": 0.2}


@pytest.fixture
def splits(pairs: list[TokenizedPair]) -> dict[str, list[TokenizedPair]]:
    """The splits that are evaluated."""
    return {"val": pairs[:2], "test": pairs[1:5], "control": pairs[4:], "probe": pairs[4:5]}


def saved_adapters(
    base: MiniGPT, folder: Path, seeds: Sequence[int], targets: Sequence[str] = ("v_proj",)
) -> dict[int, str | Path]:
    """An adapter of rank 4 for each seed, each of which does something."""
    adapters: dict[int, str | Path] = {}
    for seed in seeds:
        model = tuned_copy(base, targets, seed=seed)
        adapters[seed] = folder / f"adapter-{seed}.pt"
        save_adapter(adapters[seed], model, weights_sha256(base.state_dict()), seed)
    return adapters


def test_evaluate_adapters_compares_each_seed_with_the_base(
    base: MiniGPT,
    tokenizer: TextTokenizer,
    splits: dict[str, list[TokenizedPair]],
    tmp_path: Path,
) -> None:
    path = tmp_path / "best.pt"
    save_base(path, base)
    adapters = saved_adapters(base, tmp_path, (3, 8))
    before, _ = evaluated(base, tokenizer, splits)
    metrics, items = evaluate_adapters(path, adapters, tokenizer, splits, before)
    json.dumps(metrics, allow_nan=False)

    assert (metrics["rank"], metrics["scaling"]) == (4, 3.0)
    assert metrics["trained_parameters"] == 2 * 4 * (32 + 32)
    sizes = [Path(adapter).stat().st_size for adapter in adapters.values()]
    assert metrics["size_ratio"] == max(sizes) / path.stat().st_size
    assert [run["seed"] for run in metrics["runs"]] == [3, 8]
    assert {item["seed"] for item in items} == {3, 8}
    own = weights_sha256(base.state_dict())
    for run in metrics["runs"]:
        assert run["base_max_abs_diff"] == 0.0
        assert run["base_sha256"] == {"before": own, "after": own}
        for split in ("test", "control"):
            for kind in ("text", "target"):
                after = run[split]["perplexity"][kind]
                assert after != before[split]["perplexity"][kind]
                assert run[split]["drift"][kind] == pytest.approx(
                    after / before[split]["perplexity"][kind] - 1
                )
    first, second = (run["control"]["perplexity"] for run in metrics["runs"])
    assert first != second


def test_further_control_sets_have_a_drift_each(
    base: MiniGPT, tokenizer: TextTokenizer, splits: dict[str, list[TokenizedPair]], tmp_path: Path
) -> None:
    save_base(tmp_path / "best.pt", base)
    adapters = saved_adapters(base, tmp_path, (3, 8))
    further = {f"controls/{name}": [pair] for name, pair in zip("ab", splits["val"], strict=True)}
    before, _ = evaluated(base, tokenizer, splits | further)
    found, items = evaluate_adapters(
        tmp_path / "best.pt", adapters, tokenizer, splits | further, before
    )
    for run in found["runs"]:
        assert run["controls"].keys() == {"a", "b"}
        for name, metrics in run["controls"].items():
            ratio = metrics["perplexity"]["text"] / before["controls"][name]["perplexity"]["text"]
            assert metrics["drift"]["text"] == pytest.approx(ratio - 1) != 0
    assert Counter(item["split"] for item in items)["controls/a"] == 2


def test_base_inside_a_tuned_model_is_the_checkpoints(
    base: MiniGPT, tokenizer: TextTokenizer, splits: dict[str, list[TokenizedPair]], tmp_path: Path
) -> None:
    """The hash that evaluation records, against the tensors of the tuned model and of the file."""
    save_base(tmp_path / "best.pt", base)
    adapters = saved_adapters(base, tmp_path, (3,))
    before, _ = evaluated(base, tokenizer, splits)
    metrics, _ = evaluate_adapters(tmp_path / "best.pt", adapters, tokenizer, splits, before)
    stored = torch.load(tmp_path / "best.pt")["weights"]
    tuned = load_adapter(adapters[3], copy.deepcopy(base))
    for name, tensor in stored.items():
        layer, _, part = name.rpartition(".")
        inside = tuned.get_submodule(layer)
        inside = getattr(inside, "base", inside)
        assert torch.equal(getattr(inside, part), tensor), name
    assert metrics["runs"][0]["base_sha256"]["after"] == weights_sha256(stored)


@pytest.mark.parametrize("targets", [["v_proj"], ["mlp.fc2"]])
def test_adapter_of_one_seed_leaves_no_trace_in_the_next(
    base: MiniGPT,
    tokenizer: TextTokenizer,
    splits: dict[str, list[TokenizedPair]],
    tmp_path: Path,
    targets: list[str],
) -> None:
    save_base(tmp_path / "best.pt", base)
    adapters = saved_adapters(base, tmp_path, (3, 8), targets)
    before, _ = evaluated(base, tokenizer, splits)

    def runs(seeds: Sequence[int]) -> Any:
        some = {seed: adapters[seed] for seed in seeds}
        return evaluate_adapters(tmp_path / "best.pt", some, tokenizer, splits, before)[0]["runs"]

    assert runs([3, 8]) == [*runs([3]), *runs([8])] == runs([8, 3])[::-1]


def test_evaluate_adapters_refuses_another_base(
    make_base: Callable[..., MiniGPT],
    tokenizer: TextTokenizer,
    splits: dict[str, list[TokenizedPair]],
    tmp_path: Path,
) -> None:
    save_base(tmp_path / "best.pt", make_base(1))
    adapters = saved_adapters(make_base(0), tmp_path, (3,))
    with pytest.raises(UserError, match=r"adapter-3\.pt: was made for another base"):
        evaluate_adapters(tmp_path / "best.pt", adapters, tokenizer, splits, {})


def test_evaluate_adapters_refuses_another_rank_or_seed(
    base: MiniGPT,
    tokenizer: TextTokenizer,
    splits: dict[str, list[TokenizedPair]],
    tmp_path: Path,
) -> None:
    save_base(tmp_path / "best.pt", base)
    adapters = saved_adapters(base, tmp_path, (3,))
    with pytest.raises(UserError, match=r"adapter-3\.pt: is the adapter of another rank"):
        evaluate_adapters(tmp_path / "best.pt", adapters, tokenizer, splits, {}, rank=8)
    with pytest.raises(UserError, match=r"adapter-3\.pt: is the adapter of another seed"):
        evaluate_adapters(tmp_path / "best.pt", {4: adapters[3]}, tokenizer, splits, {})


def test_evaluate_adapters_refuses_a_changed_base(
    base: MiniGPT,
    tokenizer: TextTokenizer,
    splits: dict[str, list[TokenizedPair]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save_base(tmp_path / "best.pt", base)
    adapters = saved_adapters(base, tmp_path, (3,))
    before, _ = evaluated(base, tokenizer, splits)

    def meddle(model: MiniGPT, *rest: Any) -> Any:
        with torch.no_grad():
            model.ln_f.bias[0] += 1e-6
        return evaluate_model(model, *rest)

    monkeypatch.setattr(evaluate_seeds, "evaluate_model", meddle)
    with pytest.raises(BaseChangedError, match=r"adapter-3\.pt: the base .* was changed"):
        evaluate_adapters(tmp_path / "best.pt", adapters, tokenizer, splits, before)


def test_evaluate_full_scores_the_checkpoint(
    base: MiniGPT,
    tokenizer: TextTokenizer,
    splits: dict[str, list[TokenizedPair]],
    tmp_path: Path,
) -> None:
    save_base(tmp_path / "best.pt", base)
    tuned = copy.deepcopy(base)
    with torch.no_grad():
        tuned.ln_f.bias[3] += 0.5
    save_base(tmp_path / "model.pt", tuned)
    before, _ = evaluated(base, tokenizer, splits)
    after, expected_items = evaluated(tuned, tokenizer, splits)
    metrics, items = evaluate_full(
        tmp_path / "best.pt", {5: tmp_path / "model.pt"}, tokenizer, splits, before
    )
    run = metrics["runs"][0]
    assert (metrics["rank"], metrics["scaling"]) == (None, None)
    assert metrics["trained_parameters"] == sum(p.numel() for p in base.parameters())
    assert metrics["size_ratio"] == pytest.approx(1, abs=0.01)
    assert run["base_max_abs_diff"] == pytest.approx(0.5)
    assert run["base_sha256"]["before"] != run["base_sha256"]["after"]
    assert run["scale_audit"] == []
    assert run["test"]["accuracy"] == after["test"]["accuracy"]
    assert run["control"]["drift"]["text"] == pytest.approx(
        after["control"]["perplexity"]["text"] / before["control"]["perplexity"]["text"] - 1
    )
    assert items == [{"seed": 5, **item} for item in expected_items]


def test_evaluate_setting_and_evaluate_base_read_their_files(
    base: MiniGPT, tokenizer: TextTokenizer, splits: dict[str, list[TokenizedPair]], tmp_path: Path
) -> None:
    inputs: dict[str, Any] = {name: tmp_path / f"{name}.jsonl" for name in splits}
    for name, path in inputs.items():
        write_jsonl(path, pair_rows(splits[name]))
    inputs["controls"] = [tmp_path / "controls/french.jsonl"]
    splits = {**splits, "controls/french": splits["val"][:1]}
    write_jsonl(inputs["controls"][0], pair_rows(splits["controls/french"]))
    inputs |= {"base": tmp_path / "best.pt", "tokenizer": tmp_path / "tokenizer.json"}
    save_tokenizer(tokenizer, inputs["tokenizer"])
    save_base(inputs["base"], base, inputs["tokenizer"])
    before, items = evaluate_base(inputs)
    assert (before, items) == evaluated(base, tokenizer, splits)

    inputs["base_metrics"] = tmp_path / "metrics.json"
    write_json(inputs["base_metrics"], before)
    adapters = saved_adapters(base, tmp_path, (3, 8))
    inputs["tuned"] = list(adapters.values())
    found = evaluate_setting(inputs, [3, 8], rank=4)
    assert found == evaluate_adapters(inputs["base"], adapters, tokenizer, splits, before)
    with pytest.raises(UserError, match="is the adapter of another rank"):
        evaluate_setting(inputs, [3, 8], rank=2)
    inputs["tuned"] = [inputs["base"]]
    full, _ = evaluate_setting(inputs, [3], rank=None)
    assert full["runs"][0]["base_max_abs_diff"] == 0.0
    assert full["runs"][0]["test"]["accuracy"] == before["test"]["accuracy"]
