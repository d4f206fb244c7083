"""Resuming the forward pass of a transformers model at one of its layers.

Embeddings, masks and positions are computed outside the layers, in ways that differ between
architectures. So the model's own forward pass runs, with two changes: the layers below return what
they are given, and the layer at which it resumes is given other hidden states.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from minituner.causal_lm import CausalLM
from minituner.lora import lora_layers
from minituner.target_layers import layer_list, layer_numbers

SAMPLES = 64  # numbers of each weight that are compared at every step


class LayeredLM(CausalLM):
    """A language model that calls its transformer layers one after the other."""

    @abstractmethod
    def run(self, input_ids: Tensor, mask: Tensor) -> Tensor:
        """The logits of padded texts: (B, T) int64, (B, T) bool, False at padding -> (B, T, V)"""


class Resumption:
    """The lowest adapted layer of a model, and the state of all weights below it.

    A weight is compared by its memory, by torch's count of writes to it, and by some of its
    numbers. That is safe, and takes no time: the weights below are frozen, so no optimizer has
    them, and torch counts every other write except those through ``.data`` (or by another library
    into the same memory). The numbers detect these, unless they leave out all that are compared;
    an adapter trained after such a write fails the proof that the base is untouched.

    Args:
        layers: The transformer layers.
        lowest: The index of the lowest one with an adapter.
    """

    def __init__(self, model: LayeredLM, layers: Sequence[nn.Module], lowest: int) -> None:
        self._layers = layers
        self._below, self._layer = layers[:lowest], layers[lowest]
        self._weights = list(_weights_outside(model, layers[lowest:]))
        self._state = [_state(weight) for weight in self._weights]
        self._samples = [_sample(weight) for weight in self._weights]
        self._numbers = torch.cat(self._samples)
        self._wraps = False  # whether a layer returns a tuple
        frozen = not any(weight.requires_grad for weight in self._weights)
        self.works = frozen and self._gives_the_same(model)

    def is_current(self, model: LayeredLM, layers: Sequence[nn.Module], lowest: int) -> bool:
        """Whether the lowest adapter is still here, over the same weights."""
        return (
            layers[lowest] is self._layer
            and self._state == [_state(w) for w in _weights_outside(model, layers[lowest:])]
            and torch.equal(self._numbers, torch.cat(self._samples))
        )

    @torch.no_grad()
    def hidden_states(self, model: LayeredLM, input_ids: Tensor, mask: Tensor) -> Tensor:
        """What enters the lowest adapted layer: (B, T) int64, (B, T) bool -> (B, T, d)"""
        hook = self._layer.register_forward_pre_hook(_stop, with_kwargs=True)
        try:
            model.run(input_ids, mask)
        except _ReachedError as reached:
            return reached.hidden_states
        finally:
            hook.remove()
        raise RuntimeError("the model does not call the layer of its lowest adapter")

    @contextmanager
    def resumed(self, hidden: Tensor) -> Iterator[None]:
        """Within it, the model skips the layers below and goes on with these hidden states."""
        hook = self._layer.register_forward_pre_hook(_replacing(hidden), with_kwargs=True)
        skip = _skip_in_tuple if self._wraps else _skip
        try:
            for layer in self._below:
                layer.forward = skip
            yield
        finally:
            hook.remove()
            for layer in self._below:
                layer.__dict__.pop("forward", None)

    @torch.no_grad()
    def _gives_the_same(self, model: LayeredLM) -> bool:
        """Whether the model computes the same from the hidden states as from the start.

        Layers of some architectures also pass other things on to later ones; those cannot resume.
        """
        was_training = model.training
        model.eval()  # dropout would differ, and take random numbers
        length = min(8, model.context_length)
        device = self._weights[0].device
        ids = torch.arange(1, 1 + length, device=device)[None] % model.vocab_size
        mask = torch.ones_like(ids, dtype=torch.bool)
        hook = self._layer.register_forward_hook(self._note_output)
        try:
            expected = model.run(ids, mask)
            hidden = self.hidden_states(model, ids, mask)
            model.run(ids.flip(1), mask)  # leaves another text's values wherever layers keep any
            with self.resumed(hidden):
                found = model.run(ids, mask)
        except (TypeError, ValueError, IndexError, KeyError, AttributeError, RuntimeError):
            return False
        finally:
            hook.remove()
            model.train(was_training)
        tolerance = 1e-3 * float(expected.abs().max())
        return torch.allclose(found, expected, rtol=0.0, atol=tolerance)

    def _note_output(self, _: nn.Module, __: object, output: object) -> None:
        self._wraps = isinstance(output, tuple)


class _ReachedError(Exception):
    """Ends a forward pass at the lowest adapted layer."""

    def __init__(self, hidden_states: Tensor) -> None:
        super().__init__()
        self.hidden_states = hidden_states


def _stop(_: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> None:
    raise _ReachedError(arguments[0] if arguments else keywords["hidden_states"])


def _replacing(hidden: Tensor) -> Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]:
    """A hook that gives a layer these hidden states instead of its own."""

    def replace(
        _: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if arguments:
            return (hidden, *arguments[1:]), keywords
        return arguments, {**keywords, "hidden_states": hidden}

    return replace


def _skip(hidden_states: Tensor, *_: object, **__: object) -> Tensor:
    return hidden_states


def _skip_in_tuple(hidden_states: Tensor, *_: object, **__: object) -> tuple[Tensor]:
    return (hidden_states,)


def adapted_layers(model: nn.Module) -> tuple[list[nn.Module], int]:
    """The transformer layers, and the index of the lowest one with an adapter: everything below it
    can be skipped. 0 without an adapter, or with one outside of these layers."""
    names = [name for name, _ in lora_layers(model)]
    numbers = layer_numbers(names)
    in_list = layer_list(names)
    if in_list is None or len(numbers) < len(names):
        return [], 0
    return list(model.get_submodule(in_list).children()), min(numbers.values())


def _weights_outside(model: nn.Module, layers: Sequence[nn.Module]) -> Iterator[Tensor]:
    """The parameters and buffers of everything except these layers."""
    inside = {id(w) for layer in layers for w in (*layer.parameters(), *layer.buffers())}
    for weight in (*model.parameters(), *model.buffers()):
        if id(weight) not in inside:
            yield weight


def _state(weight: Tensor) -> tuple[int, int, int, bool]:
    """What changes if a weight is replaced, written to or trained."""
    return id(weight), weight.data_ptr(), weight._version, weight.requires_grad


def _sample(weight: Tensor) -> Tensor:
    """At most :data:`SAMPLES` numbers of a weight, evenly spaced, in its own memory."""
    step = max(1, weight.numel() // SAMPLES)
    shape = (min(SAMPLES, weight.numel()),)
    return weight.detach().as_strided(shape, (step,), weight.storage_offset())
