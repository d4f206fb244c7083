"""From corpus rows to fill-in pairs: filter, split, control and probe sets, overlap checks."""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import zip_longest
from pathlib import Path
from typing import Any

from minituner.corpus import Row
from minituner.errors import Mistakes, UserError
from minituner.files import iter_jsonl
from minituner.verbs import Verb

FORMS = ("past_simple", "past_participle")
SPLITS = ("train", "val", "test", "control", "probe")
UNSEEN_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Pair:
    """A prompt with one blank, the form that fills it and the wrong form it is weighed against."""

    id: str
    verb: str
    form: str  # one of FORMS
    frame: str
    complement: str
    prompt: str
    english: str
    spanish: str  # "" where the corpus gives none
    wrong: str
    source: str  # file:line, for messages

    def __post_init__(self) -> None:
        # Few words in many pairs: kept once each, a million pairs take a third less memory.
        for name in ("verb", "form", "frame", "english", "spanish", "wrong"):
            object.__setattr__(self, name, sys.intern(getattr(self, name)))

    @property
    def sentence(self) -> str:
        """The prompt with its blank filled in."""
        return self.prompt.replace("__", self.english)


@dataclass(frozen=True)
class SplitSettings:
    """How the pairs are divided.

    The shares are of the irregular pairs and sum to 1; the counts are of the regular ones.
    ``held_out_complements`` of every irregular verb are kept out of train.
    ``max_frame_distance`` bounds the total variation distance between the frame types of the
    control and the irregular pairs, ``max_length_difference_words`` the difference between their
    mean prompt lengths.
    """

    train_share: float = 0.8
    val_share: float = 0.1
    test_share: float = 0.1
    held_out_complements: int = 1
    control_pairs: int = 100
    probe_sentences: int = 20
    max_frame_distance: float = 0.1
    max_length_difference_words: float = 0.5


# --- filter -------------------------------------------------------------------------------------


def filter_rows(
    rows: Iterable[Row],
    verbs: Mapping[str, Verb],
    irregular_verbs: Sequence[str],
    regular_verbs: Sequence[str],
) -> tuple[list[Pair], list[Pair], dict[str, Any]]:
    """Keep the past simple and participle rows of the study's verbs.

    Returns:
        The irregular pairs, the regular pairs, and how many rows were kept and dropped, by reason.
        Pairs come sorted by content: the order of the rows means nothing.

    Raises:
        UserError: A verb is not among ``verbs``.
    """
    _check_known(verbs, irregular_verbs=irregular_verbs, regular_verbs=regular_verbs)
    group = dict.fromkeys(irregular_verbs, "irregular") | dict.fromkeys(regular_verbs, "regular")
    kept: dict[str, list[Pair]] = {"irregular": [], "regular": []}
    dropped: Counter[str] = Counter()
    for row in rows:
        if row.tense not in FORMS:
            dropped[f"tense {row.tense}"] += 1
        elif row.verb_lemma not in group:
            dropped["verb outside the study"] += 1
        elif row.prompt is None:
            dropped["no prompt to fill in"] += 1
        else:
            kept[group[row.verb_lemma]].append(pair_of_row(row, verbs))
    for name, pairs in kept.items():
        pairs.sort(key=lambda p: (p.verb, p.form, p.prompt, p.english, p.id))
        dropped[f"duplicate {name}"] = len(pairs)
        kept[name] = without_duplicates(pairs)
        dropped[f"duplicate {name}"] -= len(kept[name])
    summary = {
        "kept": {name: len(pairs) for name, pairs in kept.items()},
        "dropped": dict(sorted(dropped.items())),
    }
    return kept["irregular"], kept["regular"], summary


def _check_known(verbs: Mapping[str, Verb], **lemmas: Sequence[str]) -> None:
    """Every verb that the config names has its forms in data.verbs."""
    mistakes = Mistakes()
    for key, names in lemmas.items():
        unknown = [name for name in names if name not in verbs]
        if unknown:
            mistakes.add(
                UserError(
                    f"config.yaml: data.{key}",
                    "names a verb whose forms are not known",
                    found=", ".join(unknown),
                    expected=f"verbs of data.verbs: {', '.join(verbs)}",
                    mend="mend the name, or write the verb's forms into that file",
                )
            )
    mistakes.raise_if_any()


def pair_of_row(row: Row, verbs: Mapping[str, Verb]) -> Pair:
    """The fill-in pair of one row: the target is the correct form, whichever side was written.

    A mis-conjugated row (the wrong half of a correction pair) thus gives the same pair as its
    correct half.
    """
    assert row.prompt is not None
    return Pair(
        id=row.id,
        verb=row.verb_lemma,
        form=row.tense,
        frame=row.frame or "unspecified",
        complement=row.complement or "",
        prompt=row.prompt,
        english=row.correct_english,
        spanish=row.target_spanish or "",
        wrong=verbs[row.verb_lemma].wrong(row.tense),
        source=f"{row.path}:{row.line}",
    )


def without_duplicates(pairs: Iterable[Pair]) -> list[Pair]:
    """The first of all pairs with the same prompt and target."""
    first: dict[tuple[str, str, str], Pair] = {}
    for pair in pairs:
        first.setdefault((pair.prompt, pair.english, pair.spanish), pair)
    return list(first.values())


# --- split --------------------------------------------------------------------------------------


def split_pairs(
    irregular: Sequence[Pair], regular: Sequence[Pair], settings: SplitSettings, seed: int
) -> dict[str, list[Pair]]:
    """Divide the irregular pairs into train, val and test, the regular ones into control and probe.

    Raises:
        UserError: The shares do not sum to 1, or there are fewer pairs than a split needs.
    """
    splits = split_irregular(irregular, settings, seed)
    frames = Counter(pair.frame for pair in irregular)
    splits["control"] = draw_control(regular, frames, settings.control_pairs, seed)
    control = {pair.prompt for pair in splits["control"]}
    rest = [pair for pair in regular if pair.prompt not in control]
    splits["probe"] = round_robin_by_verb(seeded_shuffle(rest, seed))[: settings.probe_sentences]
    if len(splits["probe"]) < settings.probe_sentences:
        raise _too_few("probe", len(splits["probe"]), settings.probe_sentences, "regular")
    return splits


def split_irregular(
    pairs: Sequence[Pair], settings: SplitSettings, seed: int
) -> dict[str, list[Pair]]:
    """A seeded shuffle within each verb and form; each pair goes where most is owing to its share.

    Pairs with the same prompt form a group and stay together. The strata are laid end to end and
    the accounts run on through them, so the totals are exact and every stratum is near its share.
    Pairs with a held-out complement go to val and test alone.
    """
    if abs(settings.train_share + settings.val_share + settings.test_share - 1) > 1e-9:
        raise UserError(
            "config.yaml: data.split",
            "the shares do not sum to 1",
            found=settings.train_share + settings.val_share + settings.test_share,
            expected="train_share + val_share + test_share = 1",
            mend="e.g. 0.8, 0.1 and 0.1",
        )
    groups = defaultdict(list)
    for pair in pairs:
        groups[pair.prompt].append(pair)
    strata = defaultdict(list)
    for group in groups.values():
        strata[group[0].verb, group[0].form].append(group[0])
    held_out = held_out_complements(pairs, settings, seed)

    def is_new(pair: Pair) -> bool:
        return (pair.verb, pair.complement) in held_out

    # New ones first: a stable sort, so both kinds stay shuffled.
    ordered = [
        pair
        for key in sorted(strata)
        for pair in sorted(seeded_shuffle(strata[key], seed), key=is_new, reverse=True)
    ]

    shares = {
        "train": settings.train_share,
        "val": settings.val_share,
        "test": settings.test_share,
    }
    splits: dict[str, list[Pair]] = {name: [] for name in shares}
    groups_in = dict.fromkeys(shares, 0)
    for position, first in enumerate(ordered, start=1):
        name = max(
            ("val", "test") if is_new(first) else shares,
            key=lambda split: shares[split] * position - groups_in[split],
        )
        groups_in[name] += 1
        splits[name] += groups[first.prompt]
    for name, members in splits.items():
        if not members:
            raise _too_few(name, 0, 1, "irregular")
    return splits


def held_out_complements(
    pairs: Iterable[Pair], settings: SplitSettings, seed: int
) -> set[tuple[str, str]]:
    """The complements that train does not see, drawn for every verb, as (verb, complement).

    One that has more of its verb's pairs than val and test have room for is passed over.
    """
    by_verb: dict[str, Counter[str]] = defaultdict(Counter)
    for pair in pairs:
        by_verb[pair.verb][pair.complement] += 1
    held_out = set()
    for verb, counts in by_verb.items():
        room = (settings.val_share + settings.test_share) * counts.total()
        drawn = 0
        for complement in sorted(counts, key=lambda c: seeded_hash(seed, f"{verb}/{c}")):
            if complement and drawn < settings.held_out_complements and counts[complement] <= room:
                held_out.add((verb, complement))
                drawn += 1
                room -= counts[complement]
    return held_out


def seeded_hash(seed: int, text: str) -> str:
    """A hash that decides an order."""
    return hashlib.sha256(f"{seed}/{text}".encode()).hexdigest()


def seeded_shuffle(pairs: Iterable[Pair], seed: int) -> list[Pair]:
    """A shuffle by a seeded hash of each prompt: editing one pair moves no other."""

    def key(pair: Pair) -> tuple[str, str]:
        return seeded_hash(seed, pair.prompt), pair.english

    return sorted(pairs, key=key)


def draw_control(
    regular: Sequence[Pair], frames: Mapping[str, int], count: int, seed: int
) -> list[Pair]:
    """``count`` regular pairs with the irregular pairs' mix of frame types, verbs in turn.

    Args:
        frames: How many irregular pairs have each frame type.
    """
    by_frame = defaultdict(list)
    for pair in seeded_shuffle(regular, seed):
        by_frame[pair.frame].append(pair)
    chosen: list[Pair] = []
    for frame, quota in _apportion(frames, count).items():
        chosen += round_robin_by_verb(by_frame[frame])[:quota]
    if len(chosen) < count:  # a frame type ran short: fill up; the likeness check has the last word
        taken = {pair.prompt for pair in chosen}
        left = [pair for pair in seeded_shuffle(regular, seed) if pair.prompt not in taken]
        chosen += round_robin_by_verb(left)[: count - len(chosen)]
    if len(chosen) < count:
        raise _too_few("control", len(chosen), count, "regular")
    return chosen


def _apportion(weights: Mapping[str, int], total: int) -> dict[str, int]:
    """Whole numbers in proportion to ``weights`` that sum to ``total`` (largest remainders)."""
    exact = {key: total * weights[key] / sum(weights.values()) for key in sorted(weights)}
    whole = {key: int(value) for key, value in exact.items()}
    by_remainder = sorted(exact, key=lambda key: (whole[key] - exact[key], key))
    for key in by_remainder[: total - sum(whole.values())]:
        whole[key] += 1
    return whole


def round_robin_by_verb(pairs: Iterable[Pair]) -> list[Pair]:
    """One pair of every verb, then a second of every verb, and so on; order within a verb stays."""
    by_verb: dict[str, list[Pair]] = defaultdict(list)
    for pair in pairs:
        by_verb[pair.verb].append(pair)
    rounds = zip_longest(*(by_verb[verb] for verb in sorted(by_verb)))
    return [pair for one_round in rounds for pair in one_round if pair is not None]


def _too_few(split: str, found: int, needed: int, kind: str) -> UserError:
    return UserError(
        "config.yaml: data.corpus",
        f"too few {kind} rows for the {split} split",
        found=f"{found} pairs",
        expected=f"at least {needed}, in the past simple or past participle, each with a prompt",
        mend="add rows to the corpus, or ask for fewer under data.split in config.yaml",
    )


# --- checks -------------------------------------------------------------------------------------


def check_splits(
    splits: Mapping[str, Sequence[Pair]], base_rows: Iterable[Row], settings: SplitSettings
) -> dict[str, Any]:
    """Fail loudly if the splits leak into each other or the base, or are not alike.

    Returns:
        The distributions that were compared (:func:`compare_distributions`), and for each split the
        words that the base has not read (``unseen_words``; None where its corpus is not known).

    Raises:
        UserError: A prompt stands in two splits, train and control share a verb, the base corpus
            holds a prompt or sentence of the study, or control and irregular pairs are not alike.
    """
    check_prompts_apart(splits)
    check_verbs_apart(splits["train"], splits["control"])
    read: set[str] = set()
    check_base_apart(splits, _noting_words(base_rows, read))
    distributions = compare_distributions(
        [*splits["train"], *splits["val"], *splits["test"]], splits["control"]
    )
    check_alike(distributions, settings)
    unseen = {name: unseen_words(pairs, read) for name, pairs in splits.items()} if read else None
    return distributions | {"unseen_words": unseen}


def _noting_words(rows: Iterable[Row], words: set[str]) -> Iterator[Row]:
    """The rows as they are; the words of each are added to ``words`` as it passes."""
    for row in rows:
        words.update(words_of(row.text))
        yield row


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, apostrophes and hyphens inside them included."""
    return re.findall(r"\w+(?:['\u2019-]\w+)*", text.lower())


def unseen_words(pairs: Iterable[Pair], read: Collection[str]) -> dict[str, Any]:
    """How many of the words in the pairs' sentences are none of those that the base has read, and
    the first few that occur most."""
    counts = Counter(word for pair in pairs for word in words_of(pair.sentence))
    unseen = Counter({word: n for word, n in counts.items() if word not in read})
    shown = sorted(unseen, key=lambda word: (-unseen[word], word))[:UNSEEN_SHOWN]
    return {"words": counts.total(), "unseen": unseen.total(), "most": shown}


def check_prompts_apart(splits: Mapping[str, Sequence[Pair]]) -> None:
    """No prompt stands in two splits."""
    seen: dict[str, tuple[str, Pair]] = {}
    for name, pairs in splits.items():
        for pair in pairs:
            other_name, other = seen.setdefault(pair.prompt, (name, pair))
            if other_name != name:
                raise UserError(
                    pair.source,
                    f"its prompt stands in the splits {other_name} and {name}",
                    found=f"{pair.prompt!r}, also at {other.source}",
                    expected="every prompt in one split only",
                    mend="change or remove one of the two rows",
                )


def check_verbs_apart(train: Sequence[Pair], control: Sequence[Pair]) -> None:
    """No verb is both taught and used to measure forgetting."""
    shared = {pair.verb for pair in train} & {pair.verb for pair in control}
    if shared:
        pair = next(pair for pair in control if pair.verb in shared)
        raise UserError(
            pair.source,
            "a verb is both trained on and in the control split",
            found=", ".join(sorted(shared)),
            expected="control verbs that the training split does not hold",
            mend="keep data.irregular_verbs and data.regular_verbs apart in config.yaml",
        )


def check_base_apart(splits: Mapping[str, Sequence[Pair]], base_rows: Iterable[Row]) -> None:
    """No prompt and no filled-in sentence of the study is in the base corpus."""
    study = {pair.prompt: pair for pairs in splits.values() for pair in pairs}
    study |= {pair.sentence: pair for pairs in splits.values() for pair in pairs}
    for row in base_rows:
        for text in (row.prompt, row.text):
            if text is not None and text in study:
                raise UserError(
                    f"{row.path}:{row.line}",
                    "the base corpus holds a sentence of the study",
                    found=f"{text!r}, also at {study[text].source}",
                    expected="no prompt and no sentence in both corpora",
                    mend="remove one of the two rows",
                )


def compare_distributions(irregular: Sequence[Pair], control: Sequence[Pair]) -> dict[str, Any]:
    """Frame types and prompt lengths (in words) of both sets, and how far apart they are."""

    def describe(pairs: Sequence[Pair]) -> dict[str, Any]:
        return {
            "pairs": len(pairs),
            "frames": _counts(pairs, lambda pair: pair.frame),
            "prompt_words": _counts(pairs, lambda pair: f"{len(pair.prompt.split()):02d}"),
            "mean_prompt_words": sum(len(p.prompt.split()) for p in pairs) / len(pairs),
        }

    left, right = describe(irregular), describe(control)
    frames = left["frames"].keys() | right["frames"].keys()
    distance = 0.5 * sum(
        abs(left["frames"].get(f, 0) / left["pairs"] - right["frames"].get(f, 0) / right["pairs"])
        for f in sorted(frames)
    )
    return {
        "irregular": left,
        "control": right,
        "frame_distance": round(distance, 6),
        "length_difference_words": round(right["mean_prompt_words"] - left["mean_prompt_words"], 6),
    }


def _counts(pairs: Sequence[Pair], key: Callable[[Pair], str]) -> dict[str, int]:
    return dict(sorted(Counter(key(pair) for pair in pairs).items()))


def check_alike(distributions: Mapping[str, Any], settings: SplitSettings) -> None:
    """The control pairs must resemble the irregular ones, or drift would measure the frames."""
    for key, limit in (
        ("frame_distance", settings.max_frame_distance),
        ("length_difference_words", settings.max_length_difference_words),
    ):
        if abs(distributions[key]) > limit:
            raise UserError(
                "config.yaml: data.corpus",
                "the regular control pairs do not resemble the irregular ones",
                found=f"{key} {distributions[key]} (irregular: {distributions['irregular']}; "
                f"control: {distributions['control']})",
                expected=f"at most {limit}",
                mend=f"even out the corpus, or raise data.split.max_{key} in config.yaml",
            )


def iter_pair_rows(path: str | Path) -> Iterator[Pair]:
    """The pairs of a file that ``filter`` or ``split`` wrote, one at a time."""
    return (Pair(**row) for row in iter_jsonl(path))


def pair_rows(pairs: Iterable[Pair]) -> Iterator[dict[str, str]]:
    """Pairs as JSON objects."""
    names = [field.name for field in fields(Pair)]
    return ({name: getattr(pair, name) for name in names} for pair in pairs)
