"""A small task to begin a study with: irregular plurals, which are nothing like a verb corpus."""

from __future__ import annotations

from pathlib import Path

CONFIG = Path(__file__).with_name("skeleton.yaml")
PAIRS = "data/pairs.jsonl"
CONTROL = "data/regular.jsonl"

# Each noun with its plural, and of the irregular ones with the plural that a rule would give.
IRREGULAR = {
    "child": ("children", "childs"),
    "foot": ("feet", "foots"),
    "goose": ("geese", "gooses"),
    "man": ("men", "mans"),
    "mouse": ("mice", "mouses"),
    "ox": ("oxen", "oxes"),
    "tooth": ("teeth", "tooths"),
    "woman": ("women", "womans"),
}
REGULAR = {
    "bird": "birds",
    "book": "books",
    "cat": "cats",
    "chair": "chairs",
    "cup": "cups",
    "dog": "dogs",
    "horse": "horses",
    "road": "roads",
}
FRAMES = (
    "One {noun} is here, and two __ are there.",
    "I saw one {noun}, and then three __ more.",
    "We had one {noun}, and now we have ten __.",
    "This {noun} is old, but those __ are new.",
    "He drew one {noun}, and she drew many __.",
    "Is it one {noun}, or is it a few __?",
    "She has one {noun}, and her friend has four __.",
    "No {noun} was there, and no __ came later.",
    "They wanted one {noun} and got six __.",
    "The {noun} is small, but all __ can be drawn.",
    "First came one {noun}, then both __.",
    "Not one {noun} was left of the five __.",
    "I have seen one {noun} today, but no other __.",
    "Where there is one {noun}, there are more __.",
    "You need one {noun}, not these eight __.",
    "They sold one {noun} and kept the other __.",
    "The box had room for one {noun}, not for two __.",
    "He asked for one {noun} and found nine __.",
    "That {noun} looks like all our __.",
    "One {noun} is enough; twenty __ are too much.",
)


def skeleton_pairs() -> list[dict[str, str]]:
    """Minimal pairs, as lines of a task file."""
    return [
        {"prompt": frame.format(noun=noun), "target": right, "wrong": wrong, "group": noun}
        for noun, (right, wrong) in IRREGULAR.items()
        for frame in FRAMES
    ]


def skeleton_control() -> list[dict[str, str]]:
    """Texts that must not be forgotten, as lines of a control file."""
    return [
        {"text": frame.format(noun=noun).replace("__", plural)}
        for noun, plural in REGULAR.items()
        for frame in FRAMES
    ]
