"""The generator of both corpora: the same verbs, frames and settings give the same bytes.

A sentence is a verb with slot fillers: a subject, a complement and a time. Those of a verb are
shuffled once and each is used once, first in the study's corpus and then in the base's. So the two
have no sentence in common, and a larger base corpus does not change the study's.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, cycle, pairwise, product
from pathlib import Path
from typing import Any

from minituner.data.frames import Frame, load_grammar
from minituner.data.sentences import Record, SentenceSampler, SlotFillers, make_row
from minituner.data.verbs import PAST_TENSES, TENSES, Verb, load_verbs
from minituner.errors import UserError, number_of
from minituner.storage.files import atomic_open
from minituner.storage.schema import refuse, schema_problems
from minituner.storage.strict_yaml import read_yaml

# The study's corpus, in rows. Of 500, 80 % make 25 batches of 16.
IRREGULAR_ROWS = 500
REGULAR_ROWS = 160
CORRECTION_PAIRS = 24
OTHER_TENSE_ROWS = 60
# The base corpus, in percent: mostly the two tenses of the study.
BASE_PERCENT = {"past_simple": 36, "past_participle": 36, "present": 14, "future": 14}

# The section `generate` of rules/config.schema.yaml, in a config that may have no other section.
SETTINGS_SCHEMA = {
    "type": "object",
    "required": ["generate"],
    "properties": {
        "generate": {
            "type": "object",
            "additionalProperties": False,
            "required": ["seed", "base_rows", "over_regularized_share"],
            "properties": {
                "seed": {"type": "integer", "minimum": 0, "maximum": 4294967295},
                "base_rows": {"type": "integer", "minimum": 1},
                "over_regularized_share": {"type": "number", "minimum": 0, "maximum": 1},
            },
        }
    },
}


@dataclass(frozen=True)
class GeneratorSettings:
    """The config's section ``generate``.

    Args:
        seed: Of the order of the sentences.
        base_rows: Rows of the base corpus, in both its files together.
        over_regularized_share: The share of an irregular verb's past forms in the base corpus that
            is wrong, 0 to 1.
    """

    seed: int
    base_rows: int
    over_regularized_share: float


def write_corpora(
    *,
    raw: Path = Path("data/raw"),
    out: Path = Path("data/processed"),
    config: Path = Path("config.yaml"),
    check: bool = False,
    force: bool = False,
) -> int:
    """Generate both corpora and print the state of each file.

    Args:
        raw: The folder of verbs.yaml and frames.yaml.
        out: The folder that the corpora are in.
        config: The config whose section ``generate`` is used.
        check: Write nothing; print the files that differ to stderr.
        force: Overwrite files that differ.

    Returns:
        The exit status: 1 if ``check`` is set and a file differs, otherwise 0.

    Raises:
        UserError: A file cannot be used, there are not enough sentences, or a file differs and
            neither ``check`` nor ``force`` is set.
    """
    files = build(raw, out, read_settings(config))
    if check:
        stale = differing(files)
        for path in stale:
            print(f"{path}: {'differs' if path.exists() else 'missing'}", file=sys.stderr)
        return 1 if stale else 0
    written = write(files, force=force)
    for path, data in files.items():
        rows, state = data.count(b"\n"), "written" if path in written else "unchanged"
        print(f"{path}: {number_of(rows, 'row')}, {state}")
    return 0


def read_settings(path: Path) -> GeneratorSettings:
    """The settings, from the config's section ``generate``.

    Raises:
        UserError: The section or a setting is missing, or cannot be used.
    """
    config: Any = read_yaml(path)
    refuse(path, schema_problems(config, SETTINGS_SCHEMA, "config.yaml"))
    return GeneratorSettings(**config["generate"])


def build(raw: Path, out: Path, settings: GeneratorSettings) -> dict[Path, bytes]:
    """Both corpora in memory: the content of each file, by its path."""
    verbs = load_verbs(raw / "verbs.yaml")
    grammar = load_grammar(raw / "frames.yaml", verbs)
    sampler = SentenceSampler(grammar, verbs, settings.seed)
    study = study_corpus(verbs, sampler)  # first: it does not depend on the number of base rows
    base = base_corpus(verbs, sampler, settings)
    return {
        out / folder / f"{name}.jsonl": _json_lines(rows, prefix + name)
        for folder, prefix, corpus in (("verb-corpus", "", study), ("base-corpus", "base-", base))
        for name, rows in corpus.items()
    }


# --- the study's corpus ----------------------------------------------------------------------


def study_corpus(verbs: Mapping[str, Verb], sampler: SentenceSampler) -> dict[str, list[Record]]:
    """The study's rows, by file name without suffix."""
    irregular = [verb for verb in verbs.values() if verb.irregular]
    regular = [verb for verb in verbs.values() if not verb.irregular]
    others = tuple(tense for tense in TENSES if tense not in PAST_TENSES)
    return {
        "irregular": _correct_rows(irregular, sampler, PAST_TENSES, IRREGULAR_ROWS),
        "regular": _correct_rows(regular, sampler, PAST_TENSES, REGULAR_ROWS),
        "corrections": [
            make_row(*sample, fill_in=True, wrong=wrong)
            for sample in _draw_evenly(irregular, sampler, PAST_TENSES, CORRECTION_PAIRS)
            for wrong in (True, False)
        ],
        "other_tenses": _correct_rows(list(verbs.values()), sampler, others, OTHER_TENSE_ROWS),
    }


def _correct_rows(
    verbs: Sequence[Verb], sampler: SentenceSampler, tenses: Sequence[str], total: int
) -> list[Record]:
    return [
        make_row(*sample, fill_in=True, wrong=False)
        for sample in _draw_evenly(verbs, sampler, tenses, total)
    ]


def _draw_evenly(
    verbs: Sequence[Verb], sampler: SentenceSampler, tenses: Sequence[str], total: int
) -> Iterator[tuple[Verb, Frame, SlotFillers]]:
    """Draw ``total`` samples: every tense, verb and frame gets the same number, or one more."""
    for tense, in_tense in zip(tenses, share_evenly(total, len(tenses)), strict=True):
        # Frames alternate over the whole tense, so that their proportions do not depend on the
        # number of verbs: irregular and regular rows must not differ in their frames.
        frames = cycle(sampler.grammar.frames_of(tense))
        for verb, count in zip(verbs, share_evenly(in_tense, len(verbs)), strict=True):
            for _ in range(count):
                frame = next(frames)
                yield verb, frame, sampler.draw(verb, frame)


# --- the base corpus -------------------------------------------------------------------------


def base_corpus(
    verbs: Mapping[str, Verb], sampler: SentenceSampler, settings: GeneratorSettings
) -> dict[str, list[Record]]:
    """The base's rows, by file name without suffix: a learner's sentences, with some past forms of
    irregular verbs over-regularized."""
    plain: list[Record] = []
    fill_in: list[Record] = []
    by_tense = share_out(settings.base_rows, list(BASE_PERCENT.values()))
    for tense, in_tense in zip(BASE_PERCENT, by_tense, strict=True):
        for verb, count in zip(verbs.values(), share_evenly(in_tense, len(verbs)), strict=True):
            weak = verb.irregular and tense in PAST_TENSES
            share = settings.over_regularized_share if weak else 0.0
            rows = _base_rows(verb, tense, sampler, count, share)
            plain += (row for row in rows if row["prompt"] is None)
            fill_in += (row for row in rows if row["prompt"] is not None)
    order = random.Random(f"{settings.seed}/base")
    order.shuffle(plain)
    order.shuffle(fill_in)
    return {"plain": plain, "fill_in": fill_in}


def _base_rows(
    verb: Verb, tense: str, sampler: SentenceSampler, count: int, share: float
) -> list[Record]:
    """One verb in one tense: half plain and half fill-in, each half in every frame.

    The wrong rows are spread evenly over these kinds, so their share of the rows is exact (to the
    nearest row); which sentences they are depends on the shuffled samples.
    """
    kinds = list(product((False, True), sampler.grammar.frames_of(tense)))
    sizes = share_evenly(count, len(kinds))
    in_order = [kind for kind, size in zip(kinds, sizes, strict=True) for _ in range(size)]
    wrongs = share_evenly(round(share * count), count)  # 1 for a wrong row, 0 for a correct one
    return [
        make_row(verb, frame, sampler.draw(verb, frame), fill_in=fill_in, wrong=bool(wrong))
        for (fill_in, frame), wrong in zip(in_order, wrongs, strict=True)
    ]


def share_out(total: int, weights: Sequence[int]) -> list[int]:
    """Whole numbers that sum to ``total`` exactly, in proportion to ``weights``."""
    marks = [total * so_far // sum(weights) for so_far in accumulate(weights, initial=0)]
    return [after - before for before, after in pairwise(marks)]


def share_evenly(total: int, parts: int) -> list[int]:
    """``total`` in ``parts`` whole numbers that differ by at most one, the larger ones spread."""
    return [total * (i + 1) // parts - total * i // parts for i in range(parts)]


# --- files -----------------------------------------------------------------------------------


def _json_lines(rows: Sequence[Record], name: str) -> bytes:
    """The rows as JSON lines, each with its id: the file's name and a number."""
    lines = (
        json.dumps({"id": f"{name}-{number:04}", **row}, ensure_ascii=False)
        for number, row in enumerate(rows, start=1)
    )
    return "".join(line + "\n" for line in lines).encode()


def differing(files: Mapping[Path, bytes]) -> list[Path]:
    """The files that are missing on disk or hold other bytes."""
    return [path for path, data in files.items() if not path.is_file() or path.read_bytes() != data]


def write(files: Mapping[Path, bytes], *, force: bool) -> list[Path]:
    """Write the files that are missing or, with ``force``, differ; returns those written.

    Raises:
        UserError: A file differs and ``force`` is not set. Nothing has been written then.
    """
    stale = differing(files)
    edited = [path for path in stale if path.exists()]
    if edited and not force:
        raise UserError(
            edited[0].parent,
            "holds files that differ from the generated ones; they may have been edited by hand",
            found=", ".join(map(str, edited)),
            expected="no file, or the generator's own bytes",
            fix="leave the files alone to keep the edits, or use --force to lose them",
        )
    for path in stale:
        with atomic_open(path, "wb") as stream:
            stream.write(files[path])
    return stale
