"""Whether the control pairs are like the irregular ones, and how new the words are to the base."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minituner.commands import in_config
from minituner.data.corpus import BLANK
from minituner.data.spelling import words_of
from minituner.errors import Mistakes, UserError

if TYPE_CHECKING:
    from minituner.data.pairs import TokenizedPair

IRREGULAR = ("train", "val", "test")
WORDS_SHOWN = 10
FRAMES_SHOWN = 3


@dataclass(frozen=True)
class LikenessLimits:
    """How far the control pairs may be from the irregular ones.

    ``max_frame_distance`` bounds the total variation distance between their frame types,
    ``max_length_difference_words`` the difference between their mean prompt lengths.
    """

    max_frame_distance: float = 0.1
    max_length_difference_words: float = 0.5


class Likeness:
    """Counts what the pairs of each split are like as they pass, and compares them then.

    Args:
        unseen: The words that the base has not read; None if what it has read is not known.
    """

    def __init__(self, limits: LikenessLimits, unseen: Collection[str] | None = None) -> None:
        self.limits = limits
        self._unseen = None if unseen is None else frozenset(unseen)
        self._frames: dict[str, Counter[str]] = {}
        self._lengths: dict[str, Counter[int]] = {}  # of the prompts, in words
        self._words: Counter[str] = Counter()  # of each split's sentences
        self._new: dict[str, Counter[str]] = {}  # those of them that are unseen

    def counting(self, split: str, pairs: Iterable[TokenizedPair]) -> Iterator[TokenizedPair]:
        """The pairs as they are, each counted as it passes."""
        frames = self._frames.setdefault(split, Counter())
        lengths = self._lengths.setdefault(split, Counter())
        new = self._new.setdefault(split, Counter())
        for pair in pairs:
            frames[pair.frame] += 1
            lengths[len(pair.prompt.split())] += 1
            if self._unseen is not None:
                words = words_of(pair.prompt.replace(BLANK, pair.english))
                self._words[split] += len(words)
                new.update(word for word in words if word in self._unseen)
            yield pair

    def as_json(self) -> dict[str, Any]:
        """Frame types and prompt lengths (in words) of the irregular and the control pairs, how far
        apart they are, and for each split how many of its words the base has not read."""
        irregular, control = self._side(*IRREGULAR), self._side("control")
        differences = frame_differences(irregular, control).values()
        longer = control["mean_prompt_words"] - irregular["mean_prompt_words"]
        return {
            "irregular": irregular,
            "control": control,
            "frame_distance": round(0.5 * sum(map(abs, differences)), 6),
            "length_difference_words": round(longer, 6),
            "unseen_words": self._unseen_words(),
        }

    def _side(self, *splits: str) -> dict[str, Any]:
        frames: Counter[str] = sum((self._frames[name] for name in splits), Counter())
        lengths: Counter[int] = sum((self._lengths[name] for name in splits), Counter())
        words = sum(length * count for length, count in lengths.items())
        return {
            "pairs": frames.total(),
            "frames": dict(sorted(frames.items())),
            "prompt_words": {f"{length:02d}": lengths[length] for length in sorted(lengths)},
            "mean_prompt_words": words / frames.total(),
        }

    def _unseen_words(self) -> dict[str, Any] | None:
        if self._unseen is None:
            return None
        return {
            split: {
                "words": self._words[split],
                "unseen": new.total(),
                "most": sorted(new, key=lambda word: (-new[word], word))[:WORDS_SHOWN],
            }
            for split, new in self._new.items()
        }

    def check(self) -> None:
        """The control pairs must resemble the irregular ones, or drift would measure the frames.

        Raises:
            UserError: Their frame types or their lengths are further apart than the limits allow.
        """
        found, limits = self.as_json(), self.limits
        irregular, control = found["irregular"], found["control"]
        mistakes = Mistakes()
        distance, longer = found["frame_distance"], found["length_difference_words"]
        if distance > limits.max_frame_distance:
            mistakes.add(
                _unlike(
                    f"the mix of frames is {distance:.2f} apart "
                    f"(at most {limits.max_frame_distance:g}): {_frames_apart(irregular, control)}",
                    "the same share of each frame in both, or nearly",
                    "max_frame_distance",
                    distance,
                )
            )
        if abs(longer) > limits.max_length_difference_words:
            mistakes.add(
                _unlike(
                    f"control prompts are {abs(longer):.2f} words "
                    f"{'longer' if longer > 0 else 'shorter'} than irregular ones "
                    f"(at most {limits.max_length_difference_words:g}): "
                    f"{control['mean_prompt_words']:.2f} and "
                    f"{irregular['mean_prompt_words']:.2f} words on average",
                    "prompts of about the same length in both",
                    "max_length_difference_words",
                    abs(longer),
                )
            )
        mistakes.raise_if_any()


def frame_differences(irregular: Mapping[str, Any], control: Mapping[str, Any]) -> dict[str, float]:
    """By how much the share of each frame is larger in the irregular pairs than in the control."""
    return {
        frame: irregular["frames"].get(frame, 0) / irregular["pairs"]
        - control["frames"].get(frame, 0) / control["pairs"]
        for frame in sorted(irregular["frames"] | control["frames"])
    }


def _frames_apart(irregular: Mapping[str, Any], control: Mapping[str, Any]) -> str:
    """The frames that differ most, with their shares of both sides."""
    differences = frame_differences(irregular, control)
    most = sorted(differences, key=lambda frame: (-abs(differences[frame]), frame))[:FRAMES_SHOWN]

    def share(side: Mapping[str, Any], frame: str) -> str:
        return f"{side['frames'].get(frame, 0) / side['pairs']:.0%}"

    return ", ".join(
        f"{frame} in {share(control, frame)} of the control and {share(irregular, frame)} of the "
        "irregular pairs"
        for frame in most
    )


def _unlike(found: str, expected: str, key: str, enough: float) -> UserError:
    return UserError(
        in_config("data.corpus"),
        "the regular control pairs do not resemble the irregular ones",
        found=found,
        expected=expected,
        fix="even out the corpus, or raise the limit to "
        f"{math.ceil(100 * enough) / 100:g} in {in_config(f'data.split.{key}')}",
    )
