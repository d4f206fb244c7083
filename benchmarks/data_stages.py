"""filter, split and tokenize on a synthetic corpus, each in its own process, as in the pipeline.

python benchmarks/data_stages.py corpus --rows 10000 --folder F
python benchmarks/data_stages.py filter --folder F        # then split, then tokenize
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from work import ROOT, TOKENIZER, settings

from minituner.data.corpus import corpus_files
from minituner.data.filter import filter_corpus
from minituner.data.leakage import check_splits
from minituner.data.pairs import SPLITS, iter_pairs, write_pairs, write_splits
from minituner.data.split import SplitSettings, split_files
from minituner.pipeline.stage import gc_disabled
from minituner.storage.files import write_json


def corpus(folder: Path, rows: int) -> None:
    """Write the study's rows many times, each time with another number in the complement."""

    def made_up() -> Iterator[str]:
        files = map(Path, corpus_files(ROOT / "data/processed/verb-corpus"))
        originals = [json.loads(line) for file in files for line in file.read_text().splitlines()]
        plain = [row for row in originals if row["label"] == "correct" and row["complement"]]
        for number in range(rows):
            for row in plain:
                complement = f"{row['complement']} {number}"
                changed = {
                    key: row[key].replace(row["complement"], complement)
                    for key in ("prompt", "text")
                }
                own = {"id": f"{row['id']}-{number}", "complement": complement}
                yield json.dumps(row | changed | own) + "\n"

    (folder / "corpus").mkdir()
    with (folder / "corpus/rows.jsonl").open("w", encoding="utf-8") as stream:
        stream.writelines(islice(made_up(), rows))


def filter_(folder: Path) -> None:
    data = settings()["data"]
    names = data["irregular_verbs"], data["regular_verbs"]
    filtered = filter_corpus(corpus_files(folder / "corpus"), ROOT / data["verbs"], *names)
    write_pairs(folder / "filtered.task.jsonl", filtered.irregular)
    write_pairs(folder / "filtered.control.jsonl", filtered.regular)


def split(folder: Path) -> None:
    data = settings()["data"]
    wanted = SplitSettings(**{key: data["split"][key] for key in asdict(SplitSettings())})
    files = {name: folder / f"filtered.{name}.jsonl" for name in ("task", "control")}
    splits = split_files(files, wanted, data["seed"], {"pairs": None})
    write_json(folder / "unseen_words.json", check_splits(splits, []))
    write_splits({name: str(folder / f"{name}.jsonl") for name in splits}, splits)


def tokenize(folder: Path) -> None:
    from minituner.data.matching import MatchLimits, MatchStatistics
    from minituner.data.tokenize import ContextLimit, tokenize_splits
    from minituner.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(TOKENIZER)
    context_length = settings()["base"]["model"]["context_length"]
    tokenize_splits(
        {name: iter_pairs(folder / f"{name}.jsonl") for name in SPLITS},
        {name: folder / f"{name}.tokens.jsonl" for name in SPLITS},
        tokenizer,
        ContextLimit(context_length),
        MatchStatistics(MatchLimits(1.0, float("inf"))),
    )


@gc_disabled()  # as run_stage does
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stage", choices=["corpus", "filter", "split", "tokenize"])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--rows", type=int)
    options = parser.parse_args()
    started = time.perf_counter()
    if options.stage == "corpus":
        corpus(options.folder, options.rows)
    else:
        {"filter": filter_, "split": split, "tokenize": tokenize}[options.stage](options.folder)
    print(json.dumps({"seconds": time.perf_counter() - started}))


if __name__ == "__main__":
    main()
