"""Suggestions for misspelled words, and values in short."""

from __future__ import annotations

from minituner.storage.messages import brief, closest, nearest, unknown_word


def test_closest_and_nearest() -> None:
    assert closest("rnak", ["alpha", "rank"]) == "rank"
    assert nearest("rnak", ["alpha", "rank"]) == "did you mean 'rank'?"
    assert closest("xyz", ["alpha", "rank"]) is None
    assert nearest("xyz", []) is None


def test_unknown_word() -> None:
    message = str(unknown_word("a.jsonl:3", "tense", "past", ["past_simple", "future"]))
    assert message.startswith("a.jsonl:3: unknown tense\n  found:    'past'\n")
    assert "did you mean 'past_simple'?" in message
    assert "write one of those" in str(unknown_word("a", "tense", "xyz", ["future"]))


def test_brief() -> None:
    assert brief({"a": [1, None]}) == '{"a": [1, null]}'
    assert brief("\u00e9") == '"\\u00e9"'
    assert brief("x" * 100) == '"' + "x" * 76 + "..."
