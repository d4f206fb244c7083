"""An untrained base with the study's shape, except for its width."""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch
import work

from minituner.model import MiniGPT, init_weights
from minituner.storage.checkpoint import load_base, save_base


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    model = MiniGPT(replace(load_base(work.BASE).config, d_model=options.width))
    init_weights(model, torch.Generator().manual_seed(0))
    save_base(options.out, model)


if __name__ == "__main__":
    main()
