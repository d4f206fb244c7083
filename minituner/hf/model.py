"""A causal language model of the transformers library as a :class:`CausalLM`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from minituner.batches import Batch
from minituner.causal_lm import check_length
from minituner.hf.cache import CachedLM
from minituner.lora import lora_layers

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class TransformersLM(CachedLM):
    """A ``PreTrainedModel`` with an output head, such as a Llama.

    Its layers have the names that they have in transformers, such as
    ``model.layers.0.self_attn.q_proj``: adapters then have PEFT's names. GPT-2's ``Conv1D`` layers
    are replaced by the ``nn.Linear`` of the same name that computes the same.

    In training mode only adapters are in training mode. The base's own dropout stays off: its
    activations are the same in every epoch, so they can be cached, and a run depends on no random
    numbers but its own.

    Args:
        network: Used in place, in ``eval`` mode.
        context_length: In tokens.
    """

    def __init__(self, network: PreTrainedModel, context_length: int) -> None:
        super().__init__()
        self.transposed = tuple(_replace_conv1d(network))
        # In a tuple, where nn.Module does not look: it would put a name of its own before the names
        # of the layers. They are registered here without it.
        self._network = (network.eval(),)
        self._context_length = context_length
        for name, part in network.named_children():
            self.add_module(name, part)
        self.eval()

    @property
    def network(self) -> PreTrainedModel:
        """The wrapped model; it shares all its layers with this one."""
        return self._network[0]

    @property
    def context_length(self) -> int:
        return self._context_length

    @property
    def vocab_size(self) -> int:
        return int(self.network.get_input_embeddings().num_embeddings)

    @property
    def hidden_size(self) -> int:
        return int(self.network.config.get_text_config().hidden_size)

    @property
    def output_head(self) -> nn.Module | None:
        return cast("nn.Module | None", self.network.get_output_embeddings())

    def forward(self, input_ids: Tensor) -> Tensor:
        """Next-token logits: (B, T) int64 -> (B, T, V).

        Raises:
            UserError: T exceeds the context length.
        """
        check_length(input_ids.shape[1], self.context_length)
        return cast(Tensor, self.network(input_ids=input_ids, use_cache=False).logits)

    def run_scored(self, batch: Batch) -> Tensor:
        """The output head computes no other logits than the scored ones; what some models do with
        them after it (scaling, capping) is elementwise."""
        with self._only_scored(batch.scored) as reduced:
            logits = self.run(batch.input_ids, batch.mask)
        return logits[0] if reduced else logits[batch.scored]

    def run(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        found = self.network(input_ids=input_ids, attention_mask=mask.long(), use_cache=False)
        return cast(Tensor, found.logits)

    @contextmanager
    def _only_scored(self, scored: Tensor) -> Iterator[list[bool]]:
        """Give the output head the scored positions as one text: (B, T, d) -> (1, scored, d).

        The list is empty as long as the head has not been called as a module.
        """
        reduced: list[bool] = []

        def select(_: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            reduced.append(True)
            return (arguments[0][scored][None], *arguments[1:])

        head = self.output_head
        hook = None if head is None else head.register_forward_pre_hook(select)
        try:
            yield reduced
        finally:
            if hook is not None:
                hook.remove()

    def train(self, mode: bool = True) -> TransformersLM:
        """Set the mode of the adapters; the base's layers stay in ``eval`` mode."""
        super().train(False)
        self.training = mode
        for _, layer in lora_layers(self):
            layer.training = mode
        return self


def _replace_conv1d(network: nn.Module) -> Iterator[str]:
    """Replace every ``Conv1D`` by an ``nn.Linear``; yields their names.

    A ``Conv1D`` computes ``x W + b`` with W (in, out); an ``nn.Linear`` has W transposed.
    """
    layers = [(n, module) for n, module in network.named_modules() if isinstance(module, Conv1D)]
    for name, layer in layers:
        n_in, n_out = layer.weight.shape
        linear = nn.Linear(n_in, n_out, device="meta")
        linear.weight = nn.Parameter(layer.weight.detach().T.contiguous())
        linear.bias = layer.bias
        network.set_submodule(name, linear)
        yield name


def to_transformers(model: TransformersLM) -> PreTrainedModel:
    """The wrapped model as transformers saves and loads it; ``model`` is used up.

    Args:
        model: Without adapters, or with ``merge_and_unwrap`` already done.
    """
    network = model.network
    for name in model.transposed:
        linear = cast(nn.Linear, network.get_submodule(name))
        layer = Conv1D.__new__(Conv1D)
        nn.Module.__init__(layer)
        layer.nf, layer.nx = linear.out_features, linear.in_features
        layer.weight = nn.Parameter(linear.weight.detach().T.contiguous())
        layer.bias = linear.bias
        network.set_submodule(name, layer)
    return network
