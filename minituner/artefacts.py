"""What a file of the study is, in a few lines: checkpoint, adapter, tokenizer, manifest, corpus."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minituner.errors import UserError

KNOWN = (
    "a base checkpoint or an adapter (.pt), an adapter (.safetensors), a tokenizer.json, a "
    "manifest or another of the study's .json files, a corpus or another .jsonl file, a .csv file"
)


def explain(path: str | Path) -> str:
    """A few lines on what the file holds.

    Raises:
        UserError: There is no such file, it is damaged, or it is none of the study's.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            path,
            "there is no such file",
            found="a folder" if path.is_dir() else "nothing",
            expected=KNOWN,
            mend="mend the path",
        )
    explainers = {
        ".pt": _torch_file,
        ".safetensors": _adapter,
        ".json": _json_file,
        ".jsonl": _rows,
        ".csv": _table,
    }
    if path.suffix not in explainers:
        raise UserError(
            path,
            "is no kind of file that the study has",
            found=f"a file that ends in {path.suffix!r}",
            expected=KNOWN,
            mend="name one of those",
        )
    return explainers[path.suffix](path)


def _lines(title: str, facts: Mapping[str, Any]) -> str:
    return "\n".join([title, *(f"  {name}: {value}" for name, value in facts.items())])


# --- tensors ------------------------------------------------------------------------------------


def _torch_file(path: Path) -> str:
    from minituner.adapter import ADAPTER_FORMAT
    from minituner.checkpoint import BASE_FORMAT
    from minituner.pretrain import STATE_FORMAT
    from minituner.tensors import load_tensors

    explainers: dict[str, Callable[[Path, Mapping[str, Any]], str]] = {
        BASE_FORMAT: _base,
        ADAPTER_FORMAT: lambda path, _: _adapter(path),
        STATE_FORMAT: lambda _, value: _pretraining_state(value),
    }
    refusals = []
    for name, explainer in explainers.items():
        try:
            return explainer(path, load_tensors(path, name))
        except UserError as error:
            refusals.append(error)
    raise refusals[0]


def _base(path: Path, value: Mapping[str, Any]) -> str:
    from minituner.checkpoint import load_base
    from minituner.tensors import weights_sha256

    model = load_base(path)
    shape = model.config
    facts = {
        "weights": f"{sum(p.numel() for p in model.parameters()):,}",
        "shape": f"{shape.n_layers} layers, d = {shape.d_model}, {shape.n_heads} heads",
        "vocabulary": f"{shape.vocab_size:,}",
        "context": f"{shape.context_length} tokens",
        "sha256 of the weights": weights_sha256(model.state_dict()),
        "sha256 of its tokenizer": value["tokenizer_sha256"] or "not recorded",
    }
    return _lines("A base checkpoint: a MiniGPT, without adapters.", facts)


def _pretraining_state(value: Mapping[str, Any]) -> str:
    facts = {
        "steps taken": len(value["log"]) - 1,
        "best validation loss": f"{value['best']['val_loss']:.4f} nats a token",
    }
    return _lines("The state of a pretraining run that has not ended.", facts)


def _adapter(path: Path) -> str:
    from minituner.adapter import metadata, read_adapter
    from minituner.tensors import load_safetensors

    config, weights = read_adapter(path)
    kind = "DoRA" if config.use_dora else "rsLoRA" if config.use_rslora else "LoRA"
    facts = {
        "kind": f"{kind}, rank {config.r}, alpha {config.alpha:g}, scaling {config.scaling:g}",
        "layers": ", ".join(config.target_modules),
        "weights": f"{sum(tensor.numel() for tensor in weights.values()):,}",
        "trained with": f"seed {config.seed}, dropout {config.dropout:g}",
        "sha256 of its base's weights": config.base_sha256,
    }
    if path.suffix == ".safetensors":  # they say more than the config: of which data, for one
        _, texts = load_safetensors(path)
        facts |= {name: text for name, text in texts.items() if name not in metadata(config)}
    return _lines("An adapter: it goes on one base only.", facts)


# --- text ---------------------------------------------------------------------------------------


def _json_file(path: Path) -> str:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(
            path,
            "is not JSON",
            found=str(error),
            expected=KNOWN,
            mend="copy it again from its source",
        ) from error
    if isinstance(value, dict) and "schema_version" in value:
        return _manifest(value)
    if (
        isinstance(value, dict)
        and isinstance(value.get("model"), dict)
        and "vocab" in value["model"]
    ):
        size = len(value["model"]["vocab"])
        special = " ".join(token["content"] for token in value.get("added_tokens", []))
        facts = {"vocabulary": size, "special tokens": special}
        return _lines("A tokenizer: byte-level BPE, so no text is unknown to it.", facts)
    keys = ", ".join(value) if isinstance(value, dict) else f"a list of {len(value)}"
    return _lines("Results, as JSON.", {"holds": keys})


def _manifest(value: Mapping[str, Any]) -> str:
    facts = {
        "stage": value["stage"],
        "experiment": value["experiment"],
        "seed": value["seed"],
        "config": json.dumps(value["config"]),
        "read": ", ".join(value["inputs"]),
        "ran": f"{len(value['code'])} source files, {', '.join(value['code'])}",
        "wrote": ", ".join(value["outputs"]),
        "with": ", ".join(f"{name} {version}" for name, version in value["versions"].items()),
    }
    title = "A manifest: what one stage read, ran and wrote, by sha256."
    return _lines(title, facts) + "\nTo hold it against the files: python -m minituner verify"


def _rows(path: Path) -> str:
    from minituner.corpus import COLUMNS
    from minituner.files import iter_jsonl

    try:
        rows = list(iter_jsonl(path))
    except ValueError as error:
        raise UserError(
            path,
            "is not JSON, one object a line",
            found=str(error),
            expected=KNOWN,
            mend="mend the line; snakemake names it for a file of the corpus",
        ) from error
    first = rows[0] if rows else {}
    if "verb_lemma" in first:
        title = "A corpus: one sentence a line."
        fill_in = sum(row.get("prompt") is not None for row in rows)
        facts = {
            "rows": f"{len(rows):,}, {fill_in:,} of them fill-in",
            "verbs": _counted(row.get("verb_lemma") for row in rows),
            "tenses": _counted(row.get("tense") for row in rows),
            "labels": _counted(row.get("label") for row in rows),
        }
        missing = [name for name in COLUMNS if name not in first]
        return _lines(title, facts | ({"columns left out": ", ".join(missing)} if missing else {}))
    if "verb" in first and "prompt" in first:
        tokens = "prompt_ids" in first
        title = f"Fill-in pairs{', as token ids' if tokens else ''}: one a line."
        facts = {"pairs": f"{len(rows):,}", "verbs": _counted(row["verb"] for row in rows)}
        return _lines(title, facts | {"forms": _counted(row["form"] for row in rows)})
    return _lines("Rows, as JSON.", {"rows": f"{len(rows):,}", "columns": ", ".join(first)})


def _counted(values: Any) -> str:
    return ", ".join(f"{value} {n}" for value, n in Counter(values).most_common(20))


def _table(path: Path) -> str:
    with path.open(encoding="utf-8") as stream:
        columns = stream.readline().strip().replace(",", ", ")
        rows = sum(1 for _ in stream)
    return _lines("A table, as CSV.", {"rows": f"{rows:,}", "columns": columns})
