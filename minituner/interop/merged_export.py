"""A transformers base with an adapter merged into it, as a folder that transformers reads."""

from __future__ import annotations

from pathlib import Path

from minituner.base_files import base_path
from minituner.hf.folder import CONFIG, TOKENIZER, open_folder
from minituner.hf.model import TransformersLM, to_transformers
from minituner.interop.export_folder import new_recorded_export
from minituner.interop.export_record import MERGED
from minituner.storage.files import copy_file

# Next to tokenizer.json, where they are: what transformers and other programs read too.
TOKENIZER_FILES = (
    *("added_tokens.json", "chat_template.json", "chat_template.jinja", "merges.txt"),
    *("spiece.model", "tokenizer.model", "vocab.json", "vocab.txt"),
)


def export_merged(
    model: TransformersLM, base: str | Path, tokenizer: str | Path | None, folder: str | Path
) -> None:
    """Write a merged model as a folder that ``AutoModelForCausalLM.from_pretrained`` reads.

    The weights are float32, as they were merged, whatever type the base is stored in. Files that
    are not needed to run the model, such as a license, are not copied.

    Args:
        model: With ``merge_and_unwrap`` already done; it is used up.
        base: The folder or the name of the hub that it was loaded from.
        tokenizer: Instead of the folder's.

    Raises:
        UserError: ``folder`` cannot be replaced; see
            :func:`minituner.interop.export_folder.new_recorded_export`.
    """
    source = open_folder(base_path(base), tokenizer)
    beside = (source.tokenizer.with_name(name) for name in TOKENIZER_FILES)
    with new_recorded_export(folder, MERGED) as new:
        to_transformers(model).save_pretrained(new)
        for file in (*source.settings, *(file for file in beside if file.is_file())):
            if file != source.path / CONFIG:
                copy_file(file, new / (TOKENIZER if file == source.tokenizer else file.name))
