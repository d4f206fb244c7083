"""Tensors kept within two budgets: first in memory, then in temporary files."""

from __future__ import annotations

import mmap
import shutil
import tempfile
import weakref
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

FREE_SHARE = 0.5  # of the disk's free space; files never take more


@dataclass(frozen=True, eq=False)
class Kept:
    """A tensor that counts toward a budget as long as this object exists."""

    tensor: Tensor  # on the CPU


class TensorStore:
    """Keeps tensors in memory, and in memory-mapped files if they would exceed its budget.

    A file has no name: the system removes it as soon as nothing uses it, however the process ends.
    It is in the folder that ``TMPDIR`` names.
    """

    def __init__(self) -> None:
        self.used: Counter[str] = Counter()  # bytes in "memory" and in "file"

    def keep(self, tensor: Tensor, memory_bytes: int, file_bytes: int) -> Kept | None:
        """A tensor of the same values in memory or in a file; None if it fits in neither.

        Args:
            memory_bytes: The budget for all tensors in memory.
            file_bytes: The budget for all files; they take at most half of the disk's free space.
        """
        if self.used["memory"] + tensor.nbytes <= memory_bytes:
            return self._counted("memory", tensor.to("cpu"))
        room = min(file_bytes - self.used["file"], FREE_SHARE * _free_bytes())
        if 0 < tensor.nbytes <= room:
            with suppress(OSError):  # others have filled the disk in the meantime
                return self._counted("file", in_file(tensor))
        return None

    def _counted(self, place: str, tensor: Tensor) -> Kept:
        kept = Kept(tensor)
        self.used[place] += tensor.nbytes
        weakref.finalize(kept, self.used.subtract, {place: tensor.nbytes})
        return kept


def _free_bytes() -> int:
    return shutil.disk_usage(tempfile.gettempdir()).free


def in_file(tensor: Tensor) -> Tensor:
    """A copy of a tensor in a memory-mapped file, which exists as long as the copy does.

    Raises:
        OSError: The disk is full.
    """
    flat = tensor.detach().to("cpu").contiguous().flatten()
    with tempfile.TemporaryFile() as file:
        file.write(flat.view(torch.uint8).numpy().data)
        file.flush()
        # ACCESS_COPY, because torch wants memory that it could write to; the file never changes.
        mapped = mmap.mmap(file.fileno(), flat.nbytes, access=mmap.ACCESS_COPY)
    return torch.frombuffer(mapped, dtype=flat.dtype).view(tensor.shape)
