"""A transformers base for the benchmarks: a Llama of 22 million random weights.

    python benchmarks/llama.py FOLDER

Its vocabulary of 8,192 is larger than the study's, whose token ids it reads.
"""

from __future__ import annotations

import sys

LAYERS = 6
TOP_LAYERS = 2  # a third of them
SHAPE = {
    "vocab_size": 8192,
    "max_position_embeddings": 256,
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "tie_word_embeddings": True,
}


def main() -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**SHAPE)).save_pretrained(sys.argv[1])


if __name__ == "__main__":
    main()
