"""Spelling: comparable forms of texts, the same however a sentence is typed."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

# The characters that are typed as apostrophes and as quotation marks; some of them are letters in
# Unicode.
APOSTROPHES = (
    "'\u2019\u2018\u201a\u201b\u2032\u2035\u2039\u203a\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\u02c8\u02ca"
    "\u02cb\u00b4\u0060\u055a\u05f3\u07f4\u275b\u275c\u275f\u276e\u276f\ua78b\ua78c\uff07\uff40"
    "\u1fbd\u1fbf\u1fef\u1ffd\u1ffe\u0384"
)
QUOTES = (
    '"\u201c\u201d\u201e\u201f\u2033\u2034\u2036\u2037\u2057\u00ab\u00bb\u02ba\u02dd\u02ee\u05f4\u07f5'
    "\u275d\u275e\u2760\u2e42\u300c\u300d\u300e\u300f\u301d\u301e\u301f\ufe41\ufe42\ufe43\ufe44\uff02"
    "\uff62\uff63\U0001f676\U0001f677\U0001f678"
)
# Invisible characters, as they are written between the brackets of a regular expression: all format
# characters (category Cf) and everything else that is default-ignorable. The first join emojis.
_JOINING = "\u200c\u200d\ufe00-\ufe0f\U000e0020-\U000e007f"
_NEVER_SEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e001f\U000e0080-\U000e0fff"
    "\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd\U00013430-\U0001343f"
)
INVISIBLE = _JOINING + _NEVER_SEEN
_NO_WIDTH = re.compile(f"[{_NEVER_SEEN}]")
_UNSEEN = re.compile(f"[{INVISIBLE}]")
# Regular expressions, because str.translate takes five times as long.
_ANY_QUOTE = re.compile(f"[{re.escape(APOSTROPHES + QUOTES)}]")
_HYPHENS = re.compile("[\u2010\u2011]")
_MARK = "".join(
    re.escape(character)
    for character in map(chr, range(0x3040))  # NFKC maps the wide and vertical ones above to these
    if unicodedata.category(character).startswith("P") and character != "_"
)
_SPACE_AT_MARK = re.compile(f" (?:(?=[{_MARK}])|(?<=[{_MARK}] ))")
_QUOTES_IN_A_ROW = re.compile("''+")


def single_spaced(text: str) -> str:
    """``text`` without invisible differences: single spaces between words and none at the ends,
    composed accents (NFC), no characters of zero width."""
    return " ".join(unicodedata.normalize("NFC", _NO_WIDTH.sub("", text)).split())


_CONTROLS = {
    "\0": "a NUL",
    "\n": "a line feed",
    "\v": "a vertical tab",
    "\f": "a form feed",
    "\r": "a carriage return",
    "\x1b": "an escape character",
    "\x7f": "a delete character",
    "\x85": "a next-line character",
    "\u2028": "a line separator",
    "\u2029": "a paragraph separator",
}


def first_control(text: str) -> str | None:
    """The name of the first line break or control character in ``text``; None if there is none.
    A tab counts as a space."""
    for character in text:
        if unicodedata.category(character) in ("Cc", "Zl", "Zp") and character != "\t":
            name = _CONTROLS.get(character, "a control character")
            return f"{name} (U+{ord(character):04X})"
    return None


def folded(text: str) -> str:
    """``text`` with one character for all equivalent ones: lower case, composed accents, no
    compatibility forms (NFKC), ``'`` for apostrophes and quotation marks of any kind, and no
    invisible characters. Spaces are unchanged."""
    if text.isascii():
        return text.casefold().replace("`", "'").replace('"', "'")
    # Quotation marks before NFKC, which would turn a typed acute into a space and a combining
    # accent, and after it, since it creates some; and NFKC again, since case folding may
    # decompose letters.
    text = unicodedata.normalize("NFKC", _visible(text)).casefold()
    return _visible(unicodedata.normalize("NFKC", text))


def _visible(text: str) -> str:
    """``text`` without invisible characters, with one kind of quotation mark and of hyphen."""
    return _HYPHENS.sub("-", _ANY_QUOTE.sub("'", _UNSEEN.sub("", text)))


def comparable(text: str) -> str:
    """``text`` in a form for comparisons, the same for all spellings of one sentence.

    Ignored are the differences that :func:`folded` removes, the number and kind of spaces, spaces
    next to punctuation and at the blank ``__``, and quotation marks around the whole. Letters,
    accents, digits and other punctuation count. For comparison only: text that is shown or stored
    keeps its spelling.
    """
    text = " ".join(folded(text).replace("__", " __ ").split())
    text = _SPACE_AT_MARK.sub("", text)
    if "'" in text:
        text = _QUOTES_IN_A_ROW.sub("'", text)
        if len(text) > 2 and text[0] == text[-1] == "'":
            text = text[1:-1]
    return text


def where_they_part(text: str, other: str, around: int = 60) -> str:
    """``text`` for a message about how it differs from ``other``: a long text is cut to the part
    around the first difference, and if that is hard to see, the character there is named."""
    pairs = enumerate(zip(text, other, strict=False))
    place = next((i for i, (a, b) in pairs if a != b), min(len(text), len(other)))
    start = max(place - around, 0)
    shown = repr(text)
    if len(text) > 4 * around:
        of = f" (from character {start + 1} of {len(text):,})"
        shown = repr(text[start : place + around]) + of
    there = text[place : place + 1], other[place : place + 1]
    if comparable(text) != comparable(other) and "".join(there).isascii():
        return shown
    return f"{shown}, with {_named(there[0])} as character {place + 1}"


def _named(character: str) -> str:
    if not character:
        return "nothing"
    return f"{unicodedata.name(character, 'a character')} (U+{ord(character):04X})"


@lru_cache(2**16)
def comparable_word(text: str) -> str:
    """:func:`comparable` with a cache, for words that occur again and again."""
    return comparable(text)


def words_of(text: str) -> list[str]:
    """The words of a text, :func:`folded`, including apostrophes and hyphens inside them."""
    return re.findall(r"\w+(?:['-]\w+)*", folded(text))


_TYPOGRAPHIC = re.escape((APOSTROPHES + QUOTES).replace("'", "").replace('"', ""))
# Unusual typing; each occurrence counts once.
_ODD = re.compile(
    "|".join(
        (
            r"[^\S ]|^ | (?= )| $",  # any space except a single one between words
            r" (?=[,.;:!?%)\]}])|(?<=[(\[{¿¡]) ",  # a space on the inner side of a mark
            r"[,.;:!?](?=[^\W\d_])|(?<=\w)\"(?=\w)",  # none on the outer side
            r"(?<=[^\W_])__|__(?=[^\W_])",  # none at the blank
            r"(?:^|(?<= ))[\"'](?= |$)|'(?=')",  # a lone quotation mark, or two in a row
            r"^[\"'](?=.*[\"']$)",  # quotation marks around the whole
            f"[{INVISIBLE}]|[{_TYPOGRAPHIC}]",
        )
    )
)


def plainness(text: str, begins: bool = True) -> tuple[int, int, bool, int, str]:
    """A sort key for the spellings of one sentence, plainest first. It depends only on the text.

    Compared in turn are the number of unusual characters (extra or missing spaces, typographic
    quotation marks, invisible characters and everything else that comparisons ignore), the number
    of capitals inside words, whether the first letter has the wrong case, and the number of
    capitals: "Ana and I" is plainer than "Ana And I", "ana and i" and "ANA AND I".

    Args:
        begins: Whether ``text`` begins a sentence, so that its first letter should be a capital.
    """
    composed = unicodedata.normalize("NFC", text)
    odd = len(_ODD.findall(text)) + len(text) - len(composed)
    odd += sum(unicodedata.normalize("NFKC", character) != character for character in composed)
    inside = sum(left.isalpha() and right.isupper() for left, right in pairwise(composed))
    first = next(filter(str.isalpha, composed), "")
    return odd, inside, first.isupper() != begins, sum(map(str.isupper, composed)), text
