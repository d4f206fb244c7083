"""Which folder PEFT's save_pretrained has written, and what the others are that look like it."""

from __future__ import annotations

from pathlib import Path

from minituner.errors import UserError
from minituner.storage.text import unreadable

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
SAVE_AGAIN = "save the adapter again with PEFT's save_pretrained, and name the folder it writes"


def require_adapter_folder(folder: Path) -> None:
    """Refuse what is not a folder of PEFT's with an adapter in safetensors.

    Raises:
        UserError: Saying what it is instead, and what to do.
    """
    try:
        problem = _problem_with(folder)
    except OSError as error:
        raise unreadable(folder, error) from error
    if problem:
        found, fix = problem
        raise UserError(
            folder,
            "cannot be read as an adapter of PEFT's",
            found=found,
            expected=f"a folder with {CONFIG} and {WEIGHTS}",
            fix=fix,
        )


def _problem_with(folder: Path) -> tuple[str, str] | None:
    """What stands there instead of an adapter of PEFT's, if it does, and what to do."""
    if not folder.exists():
        return "nothing", "fix the path"
    if not folder.is_dir():
        of_an_adapter = (folder.parent / CONFIG).is_file()
        return "a file", f"name its folder: {folder.parent}" if of_an_adapter else SAVE_AGAIN
    inside = sorted(folder.iterdir())
    files = [path.name for path in inside if path.is_file()]
    if CONFIG in files and WEIGHTS in files:
        return None
    if named := [path for path in inside if (path / CONFIG).is_file()]:
        return _parent_of(named)
    return _what_is(files, [path.name for path in inside])


def _parent_of(named: list[Path]) -> tuple[str, str]:
    """An adapter that is not called "default" has a folder of its own inside; so has each
    checkpoint of a Trainer."""
    names = ", ".join(path.name for path in named)
    return f"a folder around adapters: {names}", f"name one of those, such as {named[-1]}"


def _what_is(files: list[str], names: list[str]) -> tuple[str, str]:
    """What a folder without an adapter of PEFT's is, and what to do; the likeliest first."""

    def has(*beginnings: str) -> str:
        return next((name for name in names if name.startswith(beginnings)), "")

    if not names:
        return "an empty folder", "name the folder that PEFT's save_pretrained has written"
    if name := has("adapter_model.bin"):
        return (
            f"{name}, a pickle, which could run code and is never opened here",
            "load it with PEFT if you trust it, and save_pretrained again: it writes safetensors",
        )
    if name := has("adapters.safetensors", "adapters.npz"):
        return (
            f"{name}, an adapter of MLX's",
            "train the adapter with PEFT; MLX's is of another kind",
        )
    if name := has(
        "zero_to_fp32.py", "zero_pp_rank", "mp_rank", "global_step", "pytorch_model_fsdp"
    ):
        return (
            f"{name}: the state of a training run of DeepSpeed's or FSDP's",
            "gather the weights at the end of the training run, with save_pretrained",
        )
    if name := has("model.safetensors", "model-0", "pytorch_model", "tf_model", "model.pt"):
        return (
            f"{name}: a whole model, not an adapter",
            "save the adapter alone: save_pretrained of the PeftModel, before any merge",
        )
    if CONFIG in files:
        return f"{CONFIG}, but no {WEIGHTS} beside it", "copy the folder again, whole"
    if WEIGHTS in files:
        return f"{WEIGHTS}, but no {CONFIG} beside it", "copy the folder again, whole"
    return f"other files: {', '.join(names[:8])}", SAVE_AGAIN
