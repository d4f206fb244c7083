"""The pairs of a study as its report shows them: splits, groups, forms and frames, in tables that
stay readable however many there are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypedDict, TypeVar, cast

from minituner.data.groups import are_single, taught_groups
from minituner.data.pairs import TASK_SPLITS
from minituner.errors import first_of
from minituner.results import FrameCounts, Interval, LabelAccuracy, PairsSummary, SplitCounts

FIRST_SPLITS = (*TASK_SPLITS, "control", "probe")
ROWS_SHOWN = 40  # of a table
FORMS_SHOWN = 5  # as columns
NAMES_SHOWN = 20  # in a sentence
# Labels of a sweep's summary that are no forms.
NEW_COMPLEMENT, TRAINED_COMPLEMENT = "new complement", "trained complement"
NO_COMPLEMENT = "no complement"
VERB_FORMS = ("past_simple", "past_participle")

Row = TypeVar("Row")


@dataclass(frozen=True)
class Shown(Generic[Row]):
    """The rows of a table that are shown, and those that are not."""

    rows: list[Row]
    others: list[Row]


def extremes(
    rows: Sequence[Row], key: Callable[[Row], float], most: int = ROWS_SHOWN
) -> Shown[Row]:
    """All rows if there are at most ``most``; otherwise the lowest and the highest by ``key``, half
    of each. Both parts keep the order of ``rows``."""
    if len(rows) <= most:
        return Shown(list(rows), [])
    order = sorted(range(len(rows)), key=lambda i: key(rows[i]))
    kept = {*order[: most // 2], *order[-(most - most // 2) :]}
    return Shown(
        [row for i, row in enumerate(rows) if i in kept],
        [row for i, row in enumerate(rows) if i not in kept],
    )


# --- splits -------------------------------------------------------------------------------------


def splits_of(pairs: PairsSummary) -> dict[str, SplitCounts]:
    """The splits that hold pairs: those of every study in its order, then further control sets."""
    splits = pairs["splits"]
    names = [name for name in FIRST_SPLITS if name in splits]
    names += sorted(splits.keys() - set(names))
    return {name: splits[name] for name in names if splits[name]["pairs"]}


def forms_of(pairs: PairsSummary, *, of_verbs: bool) -> list[str]:
    """The forms that are columns of the table of splits: those of verbs, or all that occur; none
    if they are too many."""
    if of_verbs:
        return list(VERB_FORMS)
    found = {form for split in pairs["splits"].values() for form in split["by_form"]} - {""}
    return sorted(found) if len(found) <= FORMS_SHOWN else []


# --- groups -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Groups:
    """The groups of the pairs.

    Args:
        single: Whether each group is one pair.
        count: The number of groups of train, val and test together.
        names: Their names; of many, the first.
        tested: The number of the test pairs' groups.
        untrained: How many of these were not trained.
        untested: How many of the trained groups have no test pair.
        single_control: Whether each group of the control is one item.
    """

    single: bool
    count: int
    names: str
    tested: int
    untrained: int
    untested: int
    single_control: bool


def groups_of(pairs: PairsSummary) -> Groups:
    """The groups that the splits hold."""
    by_split = {name: split["by_group"] for name, split in pairs["splits"].items()}
    taught = taught_groups(pairs["splits"])
    trained, tested = (by_split.get(name, {}).keys() - {""} for name in ("train", "test"))
    control = {group: n for group, n in by_split.get("control", {}).items() if group}
    return Groups(
        single=are_single(pairs["splits"]),
        count=len(taught),
        names=first_of(taught, NAMES_SHOWN),
        tested=len(tested),
        untrained=len(tested - trained),
        untested=len(trained - tested),
        single_control=max(control.values(), default=1) == 1,
    )


@dataclass(frozen=True)
class GroupRow:
    """The test accuracy of one group and form, which may be empty, before and after tuning."""

    group: str
    form: str
    items: int
    before: Interval
    after: Interval


def group_rows(rows: Sequence[LabelAccuracy], rank: str) -> Shown[GroupRow]:
    """The rows of the table by group and form, chosen by their accuracy at ``rank``; none for pairs
    without a group."""
    parts = (row["label"].rpartition("/") for row in rows)
    named = [
        GroupRow(group, form, row["sentences"], row["base"], row["ranks"][rank])
        for (group, _, form), row in zip(parts, rows, strict=True)
        if group
    ]
    return extremes(named, lambda row: row.after["mean"])


def label_rows(rows: Sequence[LabelAccuracy], rank: str) -> Shown[LabelAccuracy]:
    """The rows of the table by form and complement, without those of pairs that have none."""
    none = {""} if has_complements(rows) else {"", NO_COMPLEMENT}
    named = [row for row in rows if row["label"] not in none]
    return extremes(named, lambda row: row["ranks"][rank]["mean"])


def has_complements(rows: Sequence[LabelAccuracy]) -> bool:
    """Whether any test item has a complement."""
    return any(row["label"] in (NEW_COMPLEMENT, TRAINED_COMPLEMENT) for row in rows)


# --- the comparison with the control ------------------------------------------------------------


class FrameRow(TypedDict):
    """The pairs of one frame."""

    frame: str
    task: int
    control: int


@dataclass(frozen=True)
class Match:
    """How far the control prompts resemble the task's."""

    task: FrameCounts
    control: FrameCounts
    frames: Shown[FrameRow]


def match_of(pairs: PairsSummary) -> Match | None:
    """The comparison that ``tokenize`` made; ``None`` if it made none. Of many frames, the rarest
    and the most frequent are shown; pairs without a frame have an empty one, and no row."""
    if "distributions" not in pairs:
        return None
    sides = cast(Mapping[str, FrameCounts], pairs["distributions"])
    task, control = sides["task" if "task" in sides else "irregular"], sides["control"]
    rows: list[FrameRow] = [
        {
            "frame": frame,
            "task": task["frames"].get(frame, 0),
            "control": control["frames"].get(frame, 0),
        }
        for frame in sorted({*task["frames"], *control["frames"]} - {""})
    ]
    return Match(task, control, extremes(rows, lambda row: row["task"] + row["control"]))
