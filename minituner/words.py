"""The words of a sentence as they stand in it, and the lists of English words that settle a tense.

All words here are as ``minituner.text.comparable`` makes them: small letters, plain apostrophes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from minituner.text import APOSTROPHES, INVISIBLE, comparable

_APOSTROPHE = f"[{re.escape(APOSTROPHES)}]"
# Some apostrophes are letters to Unicode, and combining accents (of decomposed text) are not.
_LETTER = rf"(?:(?!{_APOSTROPHE})[^\W_]|[\u0300-\u036f{INVISIBLE}])"
_WORD = re.compile(rf"{_APOSTROPHE}?{_LETTER}+(?:(?:{_APOSTROPHE}|[-\u2010\u2011]){_LETTER}+)*")
_CONTRACTION = re.compile(
    rf"(.*?)(n{_APOSTROPHE}t|{_APOSTROPHE}(?:ve|s|d|ll|re|m))", re.IGNORECASE | re.DOTALL
)
_ENDS_CLAUSE = re.compile(r"[.!?;:\u2026]")


@dataclass(frozen=True)
class Word:
    """A word, or one half of a contraction: "hasn't" is "has" and "n't".

    ``marked`` says that something other than spaces stands between it and the word before it, or
    that it is its clause's first.
    """

    text: str
    written: str
    start: int
    end: int
    marked: bool

    @property
    def capital(self) -> bool:
        """Whether it has a capital letter."""
        return any(letter.isupper() for letter in self.written)

    @property
    def looks_plural(self) -> bool:
        """Whether it ends as a plural noun does, or a verb after *she*."""
        return self.text.endswith("s") and not self.text.endswith(("ss", "us", "is", "'s"))


@dataclass(frozen=True)
class Clause:
    """What stands between two of ``. ! ? ; :``."""

    sentence: str  # the whole, in which the words have their places
    words: tuple[Word, ...]
    question: bool


def clauses_of(sentence: str) -> list[Clause]:
    """The clauses of a sentence, with the positions of their words in it."""
    clauses: list[Clause] = []
    words: list[Word] = []
    end = 0
    for found in _WORD.finditer(sentence):
        between = sentence[end : found.start()]
        if words and _ENDS_CLAUSE.search(between):
            clauses.append(Clause(sentence, tuple(words), "?" in between))
            words = []
        words += _parts(found.group(), found.start(), not words or not between.isspace())
        end = found.end()
    if words:
        clauses.append(Clause(sentence, tuple(words), "?" in sentence[end:]))
    return clauses


def _parts(written: str, start: int, marked: bool) -> list[Word]:
    """A word with its contractions split off; those are never marked."""
    # A quotation mark before a word is no part of it, unless a contraction stands alone: "I 've".
    if written[0] in APOSTROPHES and not _CONTRACTION.fullmatch(written):
        written, start, marked = written[1:], start + 1, True
    cuts = [0, len(written)]
    while found := _CONTRACTION.fullmatch(written[: cuts[1]]):
        if found.end(1) == 0:
            break
        cuts.insert(1, found.end(1))
    return [
        Word(
            text=comparable(written[left:right]),
            written=written[left:right],
            start=start + left,
            end=start + right,
            marked=marked and left == 0,
        )
        for left, right in pairwise(cuts)
    ]


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# What makes a perfect, and the two contractions that only may: 's is "is" or a possessive too.
HAVE = _set("have has had having 've")
BE = _set("am is are was were be been being 'm 're")
DO = _set("do does did")
MODALS = _set("will would shall should can could may might must 'll wo ca sha") | DO

# The closed list of what may stand between a verb and its subject or its auxiliary.
ADVERBS = _set(
    "not n't never ever already always just also often sometimes usually normally generally seldom "
    "rarely hardly scarcely barely really actually probably possibly certainly definitely clearly "
    "obviously apparently finally eventually recently lately only still yet even once twice now "
    "almost nearly simply since then soon suddenly immediately quickly slowly quietly carefully "
    "easily happily sadly badly newly fully partly completely totally entirely quite very well so "
    "too rather once again"
)
SUBJECTS = _set("i he she we they")  # only ever subjects, unlike you and it
EITHER = _set("you it there")  # subjects and objects
DEMONSTRATIVES = _set("this that these those")
INDEFINITES = _set("everyone everybody someone somebody nobody everything something nothing")
OBJECTS = _set("me him her us them it you myself yourself himself herself itself ourselves")
ARTICLES = _set("a an the my your his her its our their every")
NUMBERS = _set("one two three four five six seven eight nine ten")
QUANTIFIERS = _set("some any no all both each many much more most few several enough lots another")
DETERMINERS = ARTICLES | DEMONSTRATIVES | QUANTIFIERS | NUMBERS
# Without "by", which may name the doer: "watched by millions".
PREPOSITIONS = _set(
    "about above across after against along among around at before behind below beneath beside "
    "between beyond down during for from in inside into near of off on onto out outside over past "
    "through to toward towards under until up upon with within without"
)
TIMES = _set(
    "yesterday today tonight last next ago day days week weeks weekend month months year years "
    "night morning afternoon evening noon midnight monday tuesday wednesday thursday friday "
    "saturday sunday january february march april may june july august september october "
    "november december spring summer autumn winter here there home late early hard together "
    "first later how long often times earlier afterwards "
    "upstairs downstairs indoors outdoors overseas"
)
# What a clause with a finite verb begins with.
FINITE_AFTER = _set("after before until since")  # prepositions with which a clause begins, too
OPENERS = _set("because when while although though if until where why how what who whom whose that")
RELATIVES = _set("that which who whom whose as than")
LINKING = _set(
    "be get gets got getting keep keeps kept stay stays feel feels felt look looks seem seems "
    "become becomes became remain remains appear appears sound sounds go goes went lie lies lay "
    "stand stands stood leave make makes have has had let lets let's need want like"
)
# Contractions without their apostrophe, which would pass for names: "Ive worked here".
CARELESS = _set(
    "ive youve weve theyve hes shes thats whos whats hed youd theyd hasnt havent hadnt isnt wasnt "
    "werent arent im youre theyre"
)
# Participles that never stand before their noun, as "broken" does in "broken windows".
NO_ADJECTIVES = _set("been had gone come done")
# A had before these is a fixed phrase: "had better go".
AFTER_HAD = _set("better best rather")
CONJUNCTIONS = _set("and or but nor")
# What may follow a verb but never an adjective that stands before its noun ("a finished book").
FOLLOWERS = DETERMINERS | PREPOSITIONS | OBJECTS | TIMES | ADVERBS | OPENERS
FUNCTION_WORDS = (
    FOLLOWERS | HAVE | BE | MODALS | SUBJECTS | EITHER | RELATIVES | CARELESS | CONJUNCTIONS
    | _set("by 's 'd")
) - TIMES  # fmt: skip
# The participles that do not end in -ed; a closed class.
IRREGULAR_PARTICIPLES = _set(
    "arisen awoken beaten become been begun bent bet bitten bled blown bound bought bred broken "
    "brought built burnt burst caught chosen clung come cost crept cut dealt done drawn dreamt "
    "driven drunk dug eaten fallen fed felt fled flown flung forbidden forgiven forgot forgotten "
    "fought found frozen given gone got gotten ground grown had heard held hidden hit hung hurt "
    "kept knelt knit known laid lain learnt led leant left lent let lit lost made meant met mown "
    "paid proven put quit read ridden risen run rung said sat seen sent set sewn shaken shed shone "
    "shot shown shrunk shut slain slept slid slung smelt sold sought sown spelt spent spilt split "
    "spoilt spoken spread sprung spun stolen stood struck stuck stung stunk sung sunk swept sworn "
    "swollen swum swung taken taught thought thrown told torn trodden understood undone upset "
    "undertaken withdrawn withheld woken won worn wound woven written wept rebuilt rewritten "
    "overcome overtaken mistaken bidden cast dived fit forecast forgone foreseen hewn leapt "
    "outgrown oversleept overslept pled rid shorn slit sped spat strewn stridden strung sublet "
    "thrust wed wrung redone retold repaid reset"
)
FINITE = HAVE | BE | MODALS
