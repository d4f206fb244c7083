"""Adapters that PEFT has trained over a base or its export, as minituner adapters.

An imported adapter computes the same as in PEFT, or it is refused: its config is checked key by key
(:mod:`minituner.interop.peft_config`), its tensors against the base
(:mod:`minituner.interop.peft_tensors`). PEFT is not needed for either.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from minituner.adapter_tensors import load_lora_state_dict
from minituner.base_files import base_path
from minituner.bases import load_base_model
from minituner.causal_lm import CausalLM
from minituner.errors import UserError
from minituner.hf.hub import is_transformers
from minituner.hf.weights import weight_files
from minituner.interop.opt_export import is_export_of
from minituner.interop.peft_config import PeftConfig, read_peft_config
from minituner.interop.peft_folder import CONFIG, WEIGHTS, require_adapter_folder
from minituner.interop.peft_tensors import changes_nothing, from_peft
from minituner.lora import wrap
from minituner.lora_config import LoRAConfig
from minituner.model import MiniGPT
from minituner.storage.adapter import AdapterConfig, read_adapter, save_adapter
from minituner.storage.files import sha256
from minituner.storage.tensors import load_safetensors, weights_sha256
from minituner.storage.text import unreadable


@dataclass(frozen=True)
class ImportedAdapter:
    """A PEFT adapter under minituner's names.

    Args:
        warnings: What the user should know about it.
    """

    config: AdapterConfig
    weights: dict[str, Tensor]
    warnings: list[str]


def import_adapter(
    folder: str | Path, base: CausalLM, base_name: str | Path | None = None
) -> ImportedAdapter:
    """Read a folder that PEFT has written.

    Args:
        base: The base over which the adapter was trained, unwrapped.
        base_name: The folder or the name of the hub that a transformers base was loaded from.

    Raises:
        UserError: A file is missing or damaged, the adapter is of a kind that minituner does not
            have, or it was trained over another base.
    """
    folder = Path(folder)
    require_adapter_folder(folder)
    peft = read_peft_config(folder / CONFIG)
    peft_weights, metadata = load_safetensors(folder / WEIGHTS)
    base_sha256 = weights_sha256(base.state_dict())
    recorded = metadata.get("base_sha256")
    if recorded is not None:
        is_the_base: bool | None = recorded == base_sha256
    else:
        is_the_base = _is_base(peft.base_model_name_or_path, base, base_name)
    warnings = _check_base(folder, peft, recorded, is_the_base, base_sha256)
    weights = from_peft(folder, peft_weights, peft, base)
    if changes_nothing(weights, base):
        warnings.append(f"the adapter changes nothing: A or B is zero in every layer of {folder}")
    lora = LoRAConfig(
        r=peft.r,
        alpha=peft.lora_alpha,
        dropout=peft.lora_dropout,
        target_modules=tuple(dict.fromkeys(name.rpartition(".")[0] for name in weights)),
        use_rslora=peft.use_rslora,
        use_dora=peft.use_dora,
    )
    return ImportedAdapter(AdapterConfig(base_sha256, lora, seed=0), weights, warnings)


def import_adapter_file(
    folder: str | Path,
    base: str | Path,
    adapter: str | Path,
    tokenizer: str | Path | None = None,
) -> list[str]:
    """Write the adapter of :func:`import_adapter` as an adapter file.

    Args:
        tokenizer: That of a transformers base whose folder has none.

    Returns:
        The warnings of :class:`ImportedAdapter`.

    Raises:
        UserError: As :func:`import_adapter`; or ``adapter`` exists and is not an adapter file.
    """
    _require_replaceable(Path(adapter))
    model = load_base_model(base, tokenizer if is_transformers(str(base)) else None)
    imported = import_adapter(folder, model, base)
    wrap(model, imported.config.lora, imported.config.seed)
    load_lora_state_dict(model, imported.weights, str(folder))
    save_adapter(adapter, model, imported.config.base_sha256, imported.config.seed)
    return imported.warnings


def _require_replaceable(path: Path) -> None:
    """Refuse a name that could not be read back, and a file that is not an adapter."""
    found = None if path.suffix in (".pt", ".safetensors") else f"an ending {path.suffix!r}"
    try:
        if path.exists() or path.is_symlink():
            read_adapter(path)
    except OSError as error:
        raise unreadable(path, error) from error
    except UserError:
        found = "a file or folder that is not a minituner adapter"
    if found:
        raise UserError(
            path,
            "cannot be replaced by an adapter",
            found=found,
            expected="a new file or an earlier minituner adapter, ending in .pt or .safetensors",
            fix="name another file",
        )


def _is_base(name: str, base: CausalLM, base_name: str | Path | None) -> bool | None:
    """Whether the base that an adapter names is ``base``; None if there is none of that name."""
    if isinstance(base, MiniGPT):
        return is_export_of(name, base) if name else None
    if name and name == str(base_name):
        return True
    return is_same_folder(name, base_name) if name and base_name else None


def is_same_folder(name: str, base: str | Path) -> bool | None:
    """Whether a folder holds a transformers base: its files of weights are the same, byte for byte;
    None if there is no model in it. A name of the hub is not looked up.

    Raises:
        UserError: The files cannot be read.
    """
    try:
        if not (Path(name) / "config.json").is_file():
            return None
    except OSError as error:
        raise unreadable(name, error) from error
    folders = (Path(name), base_path(base))
    if folders[0].resolve() == folders[1].resolve():
        return True
    first, second = ({file.name: sha256(file) for file in weight_files(f)} for f in folders)
    return first == second


def _check_base(
    folder: Path,
    peft: PeftConfig,
    recorded: str | None,
    is_the_base: bool | None,
    base_sha256: str,
) -> list[str]:
    """Refuse an adapter of another base; returns a warning if its base cannot be determined.

    Args:
        recorded: The base's hash in the metadata of minituner's own exports.
    """
    name = peft.base_model_name_or_path
    if is_the_base is None:
        return [
            f"{folder / CONFIG}: base_model_name_or_path: there is no base in {name!r}, so it is "
            "not known whether the adapter was trained over this one"
        ]
    if not is_the_base:
        raise UserError(
            f"{folder / CONFIG}: base_model_name_or_path",
            "was trained over another base",
            found=f"{name}, with other weights"
            if recorded is None
            else f"base {recorded[:12]}, according to {WEIGHTS}",
            expected=f"base {base_sha256[:12]}",
            fix="name that base with --base, or train the adapter over an export of this one",
        )
    return []
