"""What a folder is: a transformers model, an adapter, a study, results, rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minituner.cli.explanation import Explanation
from minituner.commands import CONFIG
from minituner.errors import UserError, first_of, number_of
from minituner.hf.folder import ADAPTER, NO_LIMIT, ModelFolder, open_folder, read_settings
from minituner.hf.folder import CONFIG as MODEL_CONFIG
from minituner.pipeline.paths import REPORT

ADAPTER_WEIGHTS = "adapter_model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".ckpt")
# Under one of these names a config of transformers has its number of layers, and their width.
LAYER_KEYS = ("num_hidden_layers", "n_layer", "n_layers")
WIDTH_KEYS = ("hidden_size", "n_embd", "d_model")


def explain_folder(path: Path) -> Explanation:
    """What a folder holds. Of a model only JSON and the headers of safetensors are read, and no
    code is executed.

    Raises:
        UserError: A file that says what the folder is, is damaged.
    """
    entries = sorted(path.iterdir())
    names = [entry.name for entry in entries]
    title, facts = "A folder.", {}
    if ADAPTER in names:
        title, facts = "An adapter in PEFT's format.", _adapter_facts(path, names)
    elif MODEL_CONFIG in names and "model_type" in read_settings(path / MODEL_CONFIG):
        title, facts = "A base in transformers' format.", _model_facts(path)
    elif CONFIG in names:
        title, facts = "A study: its config, data and results.", _study_facts(path)
    elif any(name.endswith("manifest.json") for name in names):
        title = "Results of the study, with the manifests of the stages that wrote them."
    elif any(name.endswith(".jsonl") for name in names):
        title = "A folder of rows, such as a corpus."
    adapters = [entry.name for entry in entries if (entry / ADAPTER).is_file()]
    if adapters:
        facts["adapters in PEFT's format in"] = first_of(adapters)
    shown = [f"{entry.name}/" if entry.is_dir() else entry.name for entry in entries]
    return Explanation(title, facts | {"holds": first_of(shown) or "nothing"})


# --- adapters -------------------------------------------------------------------------------------


def _adapter_facts(path: Path, names: list[str]) -> dict[str, object]:
    from minituner.cli.inspect_tensors import explain_safetensors

    config = read_settings(path / ADAPTER)
    facts: dict[str, object] = {
        "base": config.get("base_model_name_or_path") or "not named",
        "rank": config.get("r"),
    }
    if MODEL_CONFIG in names:
        facts["beside a model"] = f"{MODEL_CONFIG}; transformers loads the adapter over its base"
    if ADAPTER_WEIGHTS in names:
        return facts | dict(explain_safetensors(path / ADAPTER_WEIGHTS).facts)
    pickles = [name for name in names if name.endswith(PICKLES)]
    shown = f"only pickles, never loaded: {first_of(pickles)}" if pickles else "none"
    return facts | {"weights": shown}


# --- models ---------------------------------------------------------------------------------------


def _model_facts(path: Path) -> dict[str, object]:
    """What the folder of a transformers model holds, usable as a base or not."""
    config = read_settings(path / MODEL_CONFIG)
    facts = _architecture(config)
    try:
        folder = open_folder(path)
    except UserError as error:
        facts["cannot be a base"] = error.what
        return facts | _pickles(path)
    limit = folder.context_length
    facts["vocabulary"] = folder.config.get("vocab_size", "not in the config")
    facts["context"] = "no limit" if limit == NO_LIMIT else f"{limit:,} tokens"
    return facts | _weights(folder) | _tokenizer(folder) | _export(folder) | _pickles(path)


def _architecture(config: Mapping[str, Any]) -> dict[str, object]:
    text = config.get("text_config")
    config = {**config, **(text if isinstance(text, dict) else {})}
    names = config.get("architectures")
    name = first_of(names) if isinstance(names, list) else ""
    facts: dict[str, object] = {"architecture": name or config["model_type"]}
    layers, width = (
        next((config[key] for key in keys if key in config), None)
        for keys in (LAYER_KEYS, WIDTH_KEYS)
    )
    if layers is not None and width is not None:
        facts["shape"] = f"{layers} layers, d = {width}"
    if config.get("auto_map"):
        facts["code of its own"] = f"{MODEL_CONFIG} names some, which is never executed"
    return facts


def _weights(folder: ModelFolder) -> dict[str, object]:
    from minituner.cli.inspect_tensors import read_header

    headers = [read_header(file) for file in folder.weights]
    types = Counter(dtype for header in headers for dtype in header.dtypes.values())
    stored = sum(file.stat().st_size for file in folder.weights)
    count = sum(header.numbers for header in headers)
    files = number_of(len(headers), "file")
    return {"weights": f"{count:,}, {first_of(types)}, {stored:,} bytes in {files}"}


def _tokenizer(folder: ModelFolder) -> dict[str, object]:
    from minituner.hf.tokenizer import load_folder_tokenizer

    try:
        tokenizer = load_folder_tokenizer(folder.tokenizer, folder.config)
    except UserError as error:
        return {"tokenizer": f"cannot be used: {error.where}: {error.what}"}
    first, last = tokenizer.token(tokenizer.bos_id), tokenizer.token(tokenizer.eos_id)
    return {
        "tokenizer": f"{tokenizer.vocab_size:,} tokens; a text begins with {first} and ends with "
        f"{last}"
    }


def _export(folder: ModelFolder) -> dict[str, object]:
    from minituner.cli.inspect_tensors import read_header
    from minituner.interop.export_record import export_kind

    metadata = read_header(folder.weights[0]).metadata
    kind = export_kind(folder.path, metadata)
    return {} if kind is None else {"written by": f"minituner export: {kind or 'a base'}"}


def _pickles(path: Path) -> dict[str, object]:
    names = [entry.name for entry in sorted(path.iterdir()) if entry.suffix in PICKLES]
    return {"pickles, never loaded": first_of(names)} if names else {}


# --- studies --------------------------------------------------------------------------------------


def _study_facts(path: Path) -> dict[str, object]:
    from minituner.pipeline.config import default_files, read_config
    from minituner.pipeline.ownership import owner

    files = [str(path / name) for name in owner(path) or (CONFIG,)]
    config = read_config([*default_files(path), *files])
    task, base = (_section(config, name) for name in ("task", "base"))
    return {
        "task": task.get("name"),
        "pairs": task.get("pairs") or "verbs, from data.corpus",
        "scoring": task.get("scoring"),
        "base": base.get("checkpoint") or "a MiniGPT that the study pretrains",
        "ranks": config.get("ranks"),
        "seeds": config.get("seeds"),
        "report": REPORT if (path / REPORT).is_file() else "none yet",
    }


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name)
    return section if isinstance(section, dict) else {}
