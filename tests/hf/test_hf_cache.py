"""Cached hidden states of transformers models: the same values as without them, from memory or from
a file, and nothing stale."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from models import bytes_of
from torch import Tensor, nn

from minituner.batches import Batch, Example, Loader, pad
from minituner.hf.model import TransformersLM
from minituner.hf.store import TensorStore
from minituner.loop import token_losses, train_step
from minituner.lora import lora_layers, merge_, reset_adapters, unwrap, wrap
from minituner.lora_config import LoRAConfig

COMMON = {"vocab_size": 60, "max_position_embeddings": 32}
LLAMA = {
    **COMMON,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 6,
}
CONFIGS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", LLAMA),
    "qwen2": ("Qwen2Config", LLAMA),
    "mistral": ("MistralConfig", LLAMA | {"sliding_window": 4}),
    "gpt2": ("GPT2Config", {"vocab_size": 60, "n_positions": 32, "n_embd": 24, "n_layer": 4,
                            "n_head": 4}),
    "opt": ("OPTConfig", COMMON | {"hidden_size": 24, "word_embed_proj_dim": 12, "ffn_dim": 40,
                                   "num_hidden_layers": 4, "num_attention_heads": 4}),
    "gpt_neox": ("GPTNeoXConfig", COMMON | {"hidden_size": 24, "intermediate_size": 40,
                                            "num_hidden_layers": 4, "num_attention_heads": 4}),
    "gemma": ("GemmaConfig", LLAMA),
    # Without a window: in float64, a query in the padding with none of its keys gives NaN.
    "gemma2": ("Gemma2Config", LLAMA),
    "gemma3": ("Gemma3TextConfig", LLAMA | {"sliding_window": 4}),
}  # fmt: skip
RTOL = {"gemma2": 1e-3}  # its softmax is in float32, whatever the weights are
ARCHITECTURES = pytest.mark.parametrize("architecture", CONFIGS)
MEMORY, FILE, OFF, BOTH = (2**30, 0), (0, 2**30), (0, 0), (2**12, 2**30)
BUDGETS = pytest.mark.parametrize("budgets", [MEMORY, FILE, OFF, BOTH])


def network(architecture: str = "llama") -> Any:
    name, options = CONFIGS[architecture]
    special = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(
        getattr(transformers, name)(**options, **special)
    )
    for parameter in model.parameters():  # no weight is hidden by a zero or a one
        nn.init.normal_(parameter, std=0.3)
    return model


def adapted(
    architecture: str = "llama", budgets: tuple[int, int] = MEMORY, **options: Any
) -> TransformersLM:
    """Four layers with adapters on the last two, all of whose weights are drawn."""
    options = {"target_modules": ("all-linear",), "layers": "last 2", "dropout": 0.2, **options}
    model = TransformersLM(network(architecture), 32)
    model.cache_bytes, model.cache_file_bytes = budgets
    wrap(model, LoRAConfig(4, **options), seed=3)
    for _, layer in lora_layers(model):
        nn.init.normal_(layer.lora_B, generator=torch.Generator().manual_seed(1))
    return model


@pytest.fixture
def examples() -> list[Example]:
    draw = torch.Generator().manual_seed(5)
    lengths = torch.randint(3, 20, (40,), generator=draw).tolist()
    return [
        Example(torch.randint(3, 60, (length,), generator=draw).tolist(), 1 + length // 2)
        for length in lengths
    ]


def batches(examples: list[Example], size: int = 8) -> Loader:
    return Loader(examples, size, 0)


def gradients(model: TransformersLM, batch: Batch) -> dict[str, Tensor]:
    reset_adapters_dropout(model)
    model.train()
    token_losses(model, batch).mean().backward()
    found = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def reset_adapters_dropout(model: TransformersLM) -> None:
    shared = torch.Generator().manual_seed(9)
    for _, layer in lora_layers(model):
        layer.dropout_rng = shared


def spy(monkeypatch: pytest.MonkeyPatch, model: TransformersLM) -> list[int]:
    """Collects the rows that the first transformer layer computes."""
    calls: list[int] = []
    layers: Any = model.get_submodule(
        next(name for name, part in model.named_modules() if isinstance(part, nn.ModuleList))
    )
    kind = type(layers[0])
    original = kind.forward

    def forward(self: nn.Module, *arguments: Any, **keywords: Any) -> Any:
        if self is layers[0]:
            calls.append(len(arguments[0]))
        return original(self, *arguments, **keywords)

    monkeypatch.setattr(kind, "forward", forward)
    return calls


@ARCHITECTURES
@BUDGETS
def test_the_same_batches_give_the_same_bits_as_without_a_cache(
    architecture: str, budgets: tuple[int, int], examples: list[Example]
) -> None:
    plain, cached = adapted(architecture, OFF), adapted(architecture, budgets)
    cached.precompute(batches(examples))
    assert (cached.cache.store.used.total() > 0) == (budgets != OFF)
    for batch in list(batches(examples)):
        found = gradients(cached, batch)
        assert all(bool(gradient.isfinite().all()) for gradient in found.values())
        assert bytes_of(found) == bytes_of(gradients(plain, batch))
        assert len(found) == 2 * len(list(lora_layers(cached)))
        with torch.no_grad():
            expected = token_losses(plain.eval(), batch)
            for _ in range(2):  # computed, then looked up
                assert torch.equal(token_losses(cached.eval(), batch), expected)


@ARCHITECTURES
@pytest.mark.parametrize("budgets", [MEMORY, BOTH])
def test_other_batches_give_the_same_up_to_rounding(
    architecture: str, budgets: tuple[int, int], examples: list[Example]
) -> None:
    plain, cached = adapted(architecture, OFF).double(), adapted(architecture, budgets).double()
    cached.precompute(batches(examples, 16))
    rtol = RTOL.get(architecture, 1e-8)
    for batch in batches(list(reversed(examples)), 7):
        expected, found = gradients(plain, batch), gradients(cached, batch)
        assert expected.keys() == found.keys()
        for name, gradient in expected.items():
            assert torch.allclose(found[name], gradient, rtol=rtol, atol=rtol / 100), name


@ARCHITECTURES
def test_what_is_below_the_lowest_adapter_is_computed_once(
    architecture: str, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapted(architecture)
    calls = spy(monkeypatch, model)
    model.precompute(batches(examples))
    computed = sum(calls)
    kept = sum(len(example.ids) - 1 for example in examples)
    assert model.cache.store.used["memory"] == model.cached_token_bytes * kept == 24 * 4 * kept
    assert adapted(architecture, layers=None).cached_token_bytes == 0
    assert computed == len(examples) + 3  # the check that the model can resume
    for batch in batches(examples):
        gradients(model, batch)
    assert sum(calls) == computed
    whole = list(batches(examples))
    for _ in range(3):
        for batch in whole:
            model.eval().scored_logits(batch)
    assert sum(calls) == computed + len(examples)


def test_precomputed_batches_are_within_the_limit_of_tokens(
    examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = adapted()
    model.max_tokens_per_batch = 30
    sizes: list[int] = []
    run = model.run
    monkeypatch.setattr(model, "run", lambda ids, mask: sizes.append(ids.numel()) or run(ids, mask))
    model.precompute(batches(examples, 40))
    assert 3 < max(sizes) <= 30
    kept = sum(len(example.ids) - 1 for example in examples)
    assert model.cache.store.used["memory"] == 24 * 4 * kept


def test_texts_in_memory_a_file_and_nowhere(
    examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch of texts is kept where there is room for it; the others are computed again."""
    sizes = [24 * 4 * sum(len(e.ids) - 1 for e in examples[i : i + 8]) for i in range(0, 40, 8)]
    model = adapted(budgets=(sizes[0] + sizes[1], sizes[2] + sizes[3]))
    calls = spy(monkeypatch, model)
    model.precompute(batches(examples))
    assert model.cache.store.used == {"memory": sum(sizes[:2]), "file": sum(sizes[2:4])}
    calls.clear()
    gradients(model, pad([examples[i] for i in (0, 9, 17, 25, 33, 39)], 0))
    assert calls == [2]  # the two texts of the last batch


@ARCHITECTURES
@pytest.mark.parametrize("budgets", [MEMORY, OFF])
def test_parts_by_length_give_the_same_as_the_whole_batch(
    architecture: str,
    budgets: tuple[int, int],
    examples: list[Example],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch, rtol = pad(examples, 0), RTOL.get(architecture, 1e-8)
    whole, model = (adapted(architecture, each, dropout=0.0).double() for each in (OFF, budgets))
    monkeypatch.setattr("minituner.hf.lengths.PART_COST", 10**9)
    expected, losses = gradients(whole, batch), token_losses(whole.eval(), batch)
    monkeypatch.setattr("minituner.hf.lengths.PART_COST", 0)
    parts, run_scored = [], model.run_scored
    monkeypatch.setattr(model, "run_scored", lambda part: parts.append(part) or run_scored(part))
    model.precompute([batch])
    found = gradients(model, batch)
    assert len(parts) == len({len(example.ids) for example in examples}) > 5
    assert all(bool(part.mask.all()) for part in parts)
    for name, gradient in expected.items():
        assert torch.allclose(found[name], gradient, rtol=rtol, atol=rtol / 100), name
    assert torch.allclose(token_losses(model.eval(), batch), losses, rtol=rtol)


@BUDGETS
def test_two_seeds_train_the_same_adapters(
    budgets: tuple[int, int], examples: list[Example]
) -> None:
    def train(model: TransformersLM, seed: int) -> dict[str, Tensor]:
        reset_adapters(model, seed)
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=1e-3, fused=True)
        model.train()
        order = torch.Generator().manual_seed(seed)
        for _ in range(2):
            for batch in Loader(examples, 8, 0, order):
                train_step(model, batch, optimizer)
        return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}

    plain, cached, again = (adapted(budgets=each).double() for each in (OFF, budgets, budgets))
    for model in (cached, again):
        model.precompute(batches(examples, 16))
    for seed in (0, 1):
        expected, found = train(plain, seed), train(cached, seed)
        for name, tensor in expected.items():
            assert torch.allclose(found[name], tensor, rtol=1e-8, atol=1e-10), name
        assert bytes_of(found) == bytes_of(train(again, seed))


@pytest.mark.parametrize(
    "options",
    [
        {"layers": None},
        {"layers": (0, 3)},
        {"target_modules": ("project_out", "q_proj"), "layers": None},
    ],
)
def test_nothing_is_cached_with_an_adapter_on_the_first_layer_or_outside(
    options: dict[str, Any], examples: list[Example]
) -> None:
    model = adapted("opt", **options)
    model.precompute(batches(examples))
    for batch in list(batches(examples)):
        model.eval().scored_logits(batch)
    assert model.cache.store.used.total() == 0


def weight_changes() -> Iterator[tuple[str, Callable[[TransformersLM], None]]]:
    """Every way to change a weight of the first layer."""

    def weight(model: TransformersLM) -> nn.Parameter:
        return model.get_parameter("model.layers.0.mlp.up_proj.weight")

    def in_place(model: TransformersLM) -> None:
        with torch.no_grad():
            weight(model).mul_(2)

    def through_data(model: TransformersLM) -> None:
        weight(model).data.mul_(2)

    def other_data(model: TransformersLM) -> None:
        weight(model).data = 2 * weight(model).data

    def other_parameter(model: TransformersLM) -> None:
        linear: Any = model.get_submodule("model.layers.0.mlp.up_proj")
        linear.weight = nn.Parameter(2 * weight(model).detach(), requires_grad=False)

    def loaded(model: TransformersLM) -> None:
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        state["model.embed_tokens.weight"] *= 2
        model.load_state_dict(state)

    for change in (in_place, through_data, other_data, other_parameter, loaded):
        yield change.__name__, change


@pytest.mark.parametrize(("name", "change"), list(weight_changes()))
def test_nothing_stale_is_used(
    name: str, change: Callable[[TransformersLM], None], examples: list[Example]
) -> None:
    model, plain = adapted(), adapted(budgets=OFF)
    model.precompute(batches(examples))
    batch = pad(examples[:8], 0)
    model.eval().scored_logits(batch)
    assert model.cache.store.used["memory"] > 0, name
    for each in (model, plain):
        change(each)
    with torch.no_grad():
        found, expected = model.scored_logits(batch), plain.eval().scored_logits(batch)
    assert torch.allclose(found, expected, atol=1e-5)
    found_gradients, expected_gradients = gradients(model, batch), gradients(plain, batch)
    for name, gradient in expected_gradients.items():
        assert torch.allclose(found_gradients[name], gradient, atol=1e-5)


def test_a_weight_that_is_trained_is_not_skipped(examples: list[Example]) -> None:
    model = adapted()
    model.precompute(batches(examples))
    model.get_parameter("model.layers.0.mlp.up_proj.weight").requires_grad_(True)
    assert "model.layers.0.mlp.up_proj.weight" in gradients(model, pad(examples[:8], 0))


def test_adapters_may_be_merged_taken_off_and_put_elsewhere(examples: list[Example]) -> None:
    model, batch = adapted(), pad(examples[:8], 0)
    with torch.no_grad():
        tuned = model.eval().scored_logits(batch)
        merge_(model)
        assert torch.allclose(model.scored_logits(batch), tuned, atol=1e-4)
        unwrap(model)
        assert torch.allclose(model.scored_logits(batch), tuned, atol=1e-4)
        assert model.cache.store.used.total() == 0
        wrap(model, LoRAConfig(4, target_modules=("q_proj",), layers=(1,)), seed=0)
        for _ in range(2):
            assert torch.allclose(model.scored_logits(batch), tuned, atol=1e-4)
    assert model.cache.store.used.total() > 0


def test_an_evaluation_batch_is_kept_as_long_as_it_exists(examples: list[Example]) -> None:
    model = adapted().eval()
    batch = pad(examples[:8], 0)
    with torch.no_grad():
        model.scored_logits(batch)
        assert model.cache.store.used["memory"] == 24 * 4 * int(batch.mask.sum())
    del batch
    gc.collect()
    assert model.cache.store.used["memory"] == 0


def test_a_copy_has_a_cache_of_its_own(examples: list[Example]) -> None:
    model = adapted(budgets=FILE)
    model.precompute(batches(examples))
    clone = copy.deepcopy(model)
    assert (clone.cache_bytes, clone.cache_file_bytes, clone.cache.store.used.total()) == (*FILE, 0)
    batch = pad(examples[:8], 0)
    assert torch.equal(clone.eval().scored_logits(batch), model.eval().scored_logits(batch))


def test_layers_that_pass_more_than_hidden_states_are_never_skipped(
    examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in models whose later layers use keys or values of earlier ones."""
    layer = transformers.models.llama.modeling_llama.LlamaDecoderLayer
    original, passed = layer.forward, []

    def forward(self: Any, hidden_states: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        if self.self_attn.layer_idx == 0:
            passed[:] = [hidden_states]
        out: Tensor = original(self, hidden_states, *arguments, **keywords)
        return out + 3 * passed[0].roll(1, -1)[:, : out.shape[1]] if passed else out

    monkeypatch.setattr(layer, "forward", forward)
    model = adapted()
    model.precompute(batches(examples))
    assert model.cache.store.used.total() == 0
    passed.clear()
    assert torch.isfinite(token_losses(model.eval(), pad(examples[:8], 0))).all()


# --- the store ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("budgets", [MEMORY, FILE])
def test_a_kept_tensor_has_the_same_values(dtype: torch.dtype, budgets: tuple[int, int]) -> None:
    tensor = torch.randn(5, 7).to(dtype)
    kept = TensorStore().keep(tensor.T, *budgets)
    assert kept is not None
    assert torch.equal(kept.tensor, tensor.T)
    assert kept.tensor.dtype == dtype


def test_budgets_are_kept_and_given_back() -> None:
    store, tensor = TensorStore(), torch.zeros(20)
    kept = [store.keep(tensor, 100, 200) for _ in range(5)]
    assert [each is not None for each in kept] == [True, True, True, False, False]
    assert store.used == {"memory": 80, "file": 160}
    del kept[0]
    gc.collect()
    assert store.used == {"memory": 0, "file": 160}
    assert store.keep(tensor, 100, 200) is not None


def test_files_have_no_name_and_a_full_disk_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = TensorStore()
    kept = store.keep(torch.arange(1000), 0, 2**20)
    assert kept is not None
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(kept.tensor, torch.arange(1000))

    def full(_: Tensor) -> Tensor:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minituner.hf.store.in_file", full)
    assert store.keep(torch.arange(1000), 0, 2**20) is None
    monkeypatch.undo()
    monkeypatch.setattr("minituner.hf.store._free_bytes", lambda: 15_999)
    assert store.keep(torch.arange(1000), 0, 2**20) is None
