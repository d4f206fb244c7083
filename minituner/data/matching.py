"""Frame types and prompt lengths of the control and the task's pairs, and how well they match.

Also counts, for each split, the words that the base has never seen.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from minituner.commands import in_config
from minituner.data.pairs import TASK_SPLITS, TokenizedPair
from minituner.data.prompts import BLANK
from minituner.data.spelling import words_of
from minituner.errors import Mistakes, UserError

if TYPE_CHECKING:
    from minituner.results import Distributions, FrameCounts, UnseenWords

WORDS_SHOWN = 10
FRAMES_SHOWN = 3


@dataclass(frozen=True)
class MatchLimits:
    """The largest allowed differences between the control and the task's pairs.

    ``max_frame_distance`` bounds the total variation distance between their frame types (0 to 1),
    ``max_length_difference_words`` the difference between their mean prompt lengths.
    """

    max_frame_distance: float = 0.1
    max_length_difference_words: float = 0.5


@dataclass(frozen=True)
class Distribution:
    """The frame types and prompt lengths (in words) of a group of pairs, each with its count."""

    frames: Mapping[str, int]
    lengths: Mapping[int, int]

    @property
    def pairs(self) -> int:
        """The number of pairs."""
        return sum(self.frames.values())

    @property
    def mean_length(self) -> float:
        """The mean prompt length, in words."""
        return sum(length * count for length, count in self.lengths.items()) / self.pairs

    def share(self, frame: str) -> float:
        """The share of the pairs that have a frame type."""
        return self.frames.get(frame, 0) / self.pairs

    def as_json(self) -> FrameCounts:
        """The counts, and the mean length."""
        return {
            "pairs": self.pairs,
            "frames": dict(sorted(self.frames.items())),
            "prompt_words": {
                f"{length:02d}": self.lengths[length] for length in sorted(self.lengths)
            },
            "mean_prompt_words": self.mean_length,
        }


class MatchStatistics:
    """Counts frames, lengths and unseen words of each split's pairs while they are written, and
    then compares the control with the task's pairs.

    Args:
        limits: The largest differences; None if any difference is allowed.
        unseen: The words that the base has not seen; None if its corpus is not known.
    """

    def __init__(self, limits: MatchLimits | None, unseen: Collection[str] | None = None) -> None:
        self.limits = limits
        self._unseen = None if unseen is None else frozenset(unseen)
        self._frames: dict[str, Counter[str]] = {}  # by split, as the others
        self._lengths: dict[str, Counter[int]] = {}
        self._words: Counter[str] = Counter()
        self._unseen_words: dict[str, Counter[str]] = {}

    def counting(self, split: str, pairs: Iterable[TokenizedPair]) -> Iterator[TokenizedPair]:
        """The pairs unchanged, each counted as it passes."""
        frames = self._frames.setdefault(split, Counter())
        lengths = self._lengths.setdefault(split, Counter())
        unseen_words = self._unseen_words.setdefault(split, Counter())
        for pair in pairs:
            frames[pair.frame] += 1
            lengths[len((pair.prompt if BLANK in pair.prompt else pair.sentence).split())] += 1
            if self._unseen is not None:
                words = words_of(pair.sentence)
                self._words[split] += len(words)
                unseen_words.update(word for word in words if word in self._unseen)
            yield pair

    @property
    def task(self) -> Distribution:
        """The distribution of train, val and test together."""
        return self._of(*TASK_SPLITS)

    @property
    def control(self) -> Distribution:
        """The distribution of the control split."""
        return self._of("control")

    def _of(self, *splits: str) -> Distribution:
        return Distribution(
            sum((self._frames[name] for name in splits), Counter()),
            sum((self._lengths[name] for name in splits), Counter()),
        )

    def as_json(self) -> Distributions:
        """Both distributions, the distances between them, and of each split that is not empty
        the number of words that the base has not seen."""
        task, control = self.task, self.control
        return {
            "task": task.as_json(),
            "control": control.as_json(),
            "frame_distance": frame_distance(task, control),
            "length_difference_words": length_difference(task, control),
            "unseen_words": self._unseen_as_json(),
        }

    def _unseen_as_json(self) -> dict[str, UnseenWords] | None:
        if self._unseen is None:
            return None
        return {
            split: {
                "words": self._words[split],
                "unseen": counts.total(),
                "most": sorted(counts, key=lambda word: (-counts[word], word))[:WORDS_SHOWN],
            }
            for split, counts in self._unseen_words.items()
            if self._words[split]
        }

    def check(self) -> None:
        """Check that the control pairs resemble the task's, if there are limits. Otherwise their
        drift would measure the frames and not the verbs.

        Raises:
            UserError: Their frame types or their lengths are further apart than the limits allow.
        """
        if self.limits is None:
            return
        task, control, limits = self.task, self.control, self.limits
        mistakes = Mistakes()
        distance = frame_distance(task, control)
        if distance > limits.max_frame_distance:
            mistakes.add(
                _mismatch(
                    f"the mix of frames is {distance:.2f} apart (at most "
                    f"{limits.max_frame_distance:g}): {_largest_differences(task, control)}",
                    "the same share of each frame in both, or nearly",
                    "max_frame_distance",
                    distance,
                )
            )
        longer = length_difference(task, control)
        if abs(longer) > limits.max_length_difference_words:
            mistakes.add(
                _mismatch(
                    f"control prompts are {abs(longer):.2f} words "
                    f"{'longer' if longer > 0 else 'shorter'} than the task's "
                    f"(at most {limits.max_length_difference_words:g}): "
                    f"{control.mean_length:.2f} and {task.mean_length:.2f} words on average",
                    "prompts of about the same length in both",
                    "max_length_difference_words",
                    abs(longer),
                )
            )
        mistakes.raise_if_any()


def frame_distance(task: Distribution, control: Distribution) -> float:
    """The total variation distance between the frame types, 0 to 1."""
    return round(0.5 * sum(map(abs, _frame_differences(task, control).values())), 6)


def length_difference(task: Distribution, control: Distribution) -> float:
    """The number of words by which control prompts are longer on average."""
    return round(control.mean_length - task.mean_length, 6)


def _frame_differences(task: Distribution, control: Distribution) -> dict[str, float]:
    """By frame, how much larger its share of the task's pairs is than of the control."""
    frames = sorted({*task.frames, *control.frames})
    return {frame: task.share(frame) - control.share(frame) for frame in frames}


def _largest_differences(task: Distribution, control: Distribution) -> str:
    """The frames that differ most, with their shares of both groups."""
    differences = _frame_differences(task, control)
    largest = sorted(differences, key=lambda frame: (-abs(differences[frame]), frame))
    return ", ".join(
        f"{frame} in {control.share(frame):.0%} of the control and {task.share(frame):.0%} of "
        "the task's pairs"
        for frame in largest[:FRAMES_SHOWN]
    )


def _mismatch(found: str, expected: str, key: str, needed: float) -> UserError:
    return UserError(
        in_config("data.corpus"),
        "the control pairs do not resemble the task's",
        found=found,
        expected=expected,
        fix="even out the corpus, or raise the limit to "
        f"{math.ceil(100 * needed) / 100:g} in {in_config(f'data.split.{key}')}",
    )
