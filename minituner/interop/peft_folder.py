"""The folders that PEFT's save_pretrained writes, told apart from those that look like one."""

from __future__ import annotations

from pathlib import Path

from minituner.errors import UserError
from minituner.storage.text import unreadable

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
SAVE_AGAIN = "save the adapter again with PEFT's save_pretrained, and name the folder it writes"


def require_adapter_folder(folder: Path) -> None:
    """Refuse a path that is not a PEFT folder with an adapter in safetensors format.

    Raises:
        UserError: With what it is instead, and what to do.
    """
    try:
        problem = _problem_with(folder)
    except OSError as error:
        raise unreadable(folder, error) from error
    if problem:
        found, fix = problem
        raise UserError(
            folder,
            "cannot be read as a PEFT adapter",
            found=found,
            expected=f"a folder with {CONFIG} and {WEIGHTS}",
            fix=fix,
        )


def _problem_with(folder: Path) -> tuple[str, str] | None:
    """What ``folder`` is instead of a PEFT adapter, and what to do; None if it is one."""
    if not folder.exists():
        return "nothing", "fix the path"
    if not folder.is_dir():
        in_adapter_folder = (folder.parent / CONFIG).is_file()
        return "a file", f"name its folder: {folder.parent}" if in_adapter_folder else SAVE_AGAIN
    entries = sorted(folder.iterdir())
    files = [path.name for path in entries if path.is_file()]
    if CONFIG in files and WEIGHTS in files:
        return None
    # PEFT gives an adapter that is not named "default" a subfolder; so does a Trainer each of its
    # checkpoints.
    if subfolders := [path for path in entries if (path / CONFIG).is_file()]:
        names = ", ".join(path.name for path in subfolders)
        return f"a folder around adapters: {names}", f"name one of those, such as {subfolders[-1]}"
    return _what_it_is(files, [path.name for path in entries])


def _what_it_is(files: list[str], names: list[str]) -> tuple[str, str]:
    """What a folder without a PEFT adapter is, and what to do; the most likely case first."""

    def find(*prefixes: str) -> str:
        return next((name for name in names if name.startswith(prefixes)), "")

    if not names:
        return "an empty folder", "name the folder that PEFT's save_pretrained wrote"
    if name := find("adapter_model.bin"):
        return (
            f"{name}, a pickle, which could run code and is never opened here",
            "load it with PEFT if you trust it, and save_pretrained again: it writes safetensors",
        )
    if name := find("adapters.safetensors", "adapters.npz"):
        return f"{name}, an MLX adapter", "train the adapter with PEFT; MLX adapters are different"
    if name := find(
        "zero_to_fp32.py", "zero_pp_rank", "mp_rank", "global_step", "pytorch_model_fsdp"
    ):
        return (
            f"{name}: the state of a DeepSpeed or FSDP training run",
            "gather the weights at the end of the training run, with save_pretrained",
        )
    if name := find("model.safetensors", "model-0", "pytorch_model", "tf_model", "model.pt"):
        return (
            f"{name}: a whole model, not an adapter",
            "save only the adapter: call save_pretrained of the PeftModel, before any merge",
        )
    if CONFIG in files:
        return f"{CONFIG}, but no {WEIGHTS} next to it", "copy the whole folder again"
    if WEIGHTS in files:
        return f"{WEIGHTS}, but no {CONFIG} next to it", "copy the whole folder again"
    return f"other files: {', '.join(names[:8])}", SAVE_AGAIN
