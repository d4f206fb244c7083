"""A folder of a transformers model, loaded."""

from __future__ import annotations

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING
from transformers.utils import logging

from minituner.errors import UserError, first_of
from minituner.hf.folder import CONFIG, ModelFolder
from minituner.hf.model import TransformersLM


def load_transformers_lm(folder: ModelFolder) -> TransformersLM:
    """A model that :func:`minituner.hf.folder.open_folder` has checked, as float32, in ``eval``
    mode. No code of the folder is executed and nothing is unpickled.

    Raises:
        UserError: transformers itself does not know the model, or not as a causal language model,
            or the weights are not the model's.
    """
    config = _known_config(folder)
    logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            network, info = AutoModelForCausalLM.from_pretrained(
                folder.path,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
    except Exception as error:  # the library raises many types for files that do not fit
        raise _unusable(folder, str(error).strip().splitlines()[:1]) from error
    wrong = [*info["missing_keys"], *(name for name, *_ in info["mismatched_keys"])]
    if wrong:
        raise _unusable(folder, [f"no weights of that shape for {first_of(sorted(wrong), 4)}"])
    return TransformersLM(network, folder.context_length)


def _known_config(folder: ModelFolder) -> PretrainedConfig:
    """The config, if transformers has a causal language model for it. A folder may name code of its
    own (``auto_map``); it is ignored where transformers knows the model, and never executed."""
    model_type = folder.config["model_type"]
    known = model_type in CONFIG_MAPPING
    if known:
        config = _config(folder)
        if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
            config._attn_implementation = None  # the config could name code to download
            return config
    own_code = not known and "auto_map" in folder.config
    raise UserError(
        folder.path / CONFIG,
        "is a model with code of its own, which is never executed"
        if own_code
        else "is not a causal language model that transformers knows",
        found=f"model_type: {model_type}",
        expected="a model that the installed transformers has the code of, such as llama or gpt2",
        fix="name another base, or install a transformers that has it"
        if not known
        else "name another base: one that continues a text",
    )


def _config(folder: ModelFolder) -> PretrainedConfig:
    try:
        return AutoConfig.from_pretrained(
            folder.path, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise _unusable(folder, str(error).strip().splitlines()[:1]) from error


def _unusable(folder: ModelFolder, found: list[str]) -> UserError:
    return UserError(
        folder.path,
        "transformers cannot load the model",
        found=(found or ["an error without a message"])[0],
        expected="weights and a config that belong together",
        fix="copy the folder again from its source",
    )
