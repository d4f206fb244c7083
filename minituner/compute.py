"""The device and the numbers that a study computes with: the section ``compute`` of the config.

The rules and ``plan`` read it before torch is needed, so torch is imported only in functions.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Literal, TypeVar

from minituner.commands import in_config
from minituner.errors import UserError

if TYPE_CHECKING:
    import torch

    from minituner.causal_lm import CausalLM
    from minituner.results import GpuUsed

Model = TypeVar("Model", bound="CausalLM")


@dataclass(frozen=True)
class ComputeSettings:
    """The section ``compute`` of the config.

    Args:
        device: ``auto`` is a GPU where there is one.
        dtype: Of the frozen weights of a transformers base; adapters are always float32.
        max_tokens_per_batch: A batch of more tokens, padding included, is computed in parts; None
            sets no limit.
        cache_bytes: The memory for activations that are kept from batch to batch.
    """

    device: Literal["cpu", "cuda", "auto"] = "cpu"
    dtype: Literal["float32", "bfloat16"] = "float32"
    max_tokens_per_batch: int | None = None
    cache_bytes: int = 2**28

    def torch_device(self) -> torch.device:
        """The device that ``device`` means on this machine.

        Raises:
            UserError: It is ``cuda``, and torch cannot use a GPU here.
        """
        import torch

        # Deterministic matrix products require it, and it is read when CUDA starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        if self.device == "cpu":
            return torch.device("cpu")
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        if self.device == "auto":
            return torch.device("cpu")
        raise _no_gpu("torch finds none")


DEFAULTS = ComputeSettings()


def place(model: Model, settings: ComputeSettings) -> Model:
    """Prepare a model in place for the machine: its device, its precision and its limits.

    Raises:
        UserError: There is no such device, or the model cannot have the precision.
    """
    import torch

    device = settings.torch_device()
    if settings.dtype != "float32":
        if model.float32_only:
            raise UserError(
                in_config("compute.dtype"),
                "is not for a MiniGPT",
                found=settings.dtype,
                expected="float32; bfloat16 is for the frozen weights of a transformers base",
                fix="write dtype: float32",
            )
        for weight in model.parameters():  # not its buffers, such as the angles of positions
            weight.data = weight.data.to(getattr(torch, settings.dtype))
    model.max_tokens_per_batch = settings.max_tokens_per_batch
    model.cache_bytes = settings.cache_bytes
    return model.to(device)


def gpu_used(model: CausalLM) -> GpuUsed:
    """The GPU that a model is on, for the training's summary; nothing on a CPU."""
    import torch

    if model.device.type != "cuda":
        return {}
    return {"gpu": torch.cuda.get_device_name(model.device)}


def require_gpu(settings: ComputeSettings) -> None:
    """Refuse ``device: cuda`` where there is no GPU, without importing torch.

    Raises:
        UserError: There is none, or torch is built without CUDA.
    """
    if settings.device != "cuda":
        return
    if version("torch").endswith("+cpu"):
        raise _no_gpu(f"torch {version('torch')}, which is built without CUDA")
    if gpu_count() == 0:
        raise _no_gpu("no GPU that the CUDA driver finds")


def gpu_count() -> int:
    """The number of GPUs, from the CUDA driver itself; it heeds ``CUDA_VISIBLE_DEVICES``."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    return 0 if failed else count.value


def _no_gpu(found: str) -> UserError:
    return UserError(
        in_config("compute.device"),
        "there is no GPU to compute on",
        found=found,
        expected="an NVIDIA GPU, its driver, and a torch that is built for CUDA",
        fix="write device: cpu, or device: auto to use a GPU only where there is one",
    )
