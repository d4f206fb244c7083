"""The English that decides a tense: the known verbs' forms, and lists of function words.

All are in the spelling of ``minituner.data.spelling.comparable``: lower case, plain apostrophes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property

from minituner.data.spelling import comparable
from minituner.data.verbs import PERSONS, Verb

PERSON_OF = {
    "i": "1sg",
    "you": "2sg",
    "he": "3sg",
    "she": "3sg",
    "it": "3sg",
    "we": "1pl",
    "they": "3pl",
}


class Vocabulary:
    """The forms of the known verbs."""

    def __init__(self, verbs: Mapping[str, Verb]) -> None:
        self._verbs = tuple(verbs.values())

    @cached_property
    def past(self) -> frozenset[str]:
        """Forms of the past simple."""
        return frozenset(comparable(form) for verb in self._verbs for form in verb.past.values())

    @cached_property
    def participles(self) -> frozenset[str]:
        """Past participles."""
        return frozenset(comparable(verb.participle) for verb in self._verbs)

    @cached_property
    def bases(self) -> frozenset[str]:
        """Infinitives and forms of the present."""
        return frozenset(
            comparable(form)
            for verb in self._verbs
            for form in (verb.lemma, *verb.present.values())
        )

    @cached_property
    def other_words(self) -> dict[str, str]:
        """Forms that are also other words, and the meanings of those."""
        return {
            comparable(form): meaning
            for verb in self._verbs
            for form, meaning in verb.ambiguous.items()
        }

    @cached_property
    def persons(self) -> dict[str, frozenset[str]]:
        """The persons of each form of the past simple."""
        persons: dict[str, set[str]] = {}
        for verb in self._verbs:
            for person in PERSONS:
                persons.setdefault(comparable(verb.past[person]), set()).add(person)
        return {form: frozenset(of) for form, of in persons.items()}

    @cached_property
    def forms(self) -> frozenset[str]:
        """All forms of the known verbs."""
        return self.past | self.participles | self.bases


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Forms of have. 's and 'd are not among them: they may be "is", "would" or a possessive too.
HAVE = _set("have has had having 've")
BE = _set("am is are was were be been being 'm 're")
DO = _set("do does did")
MODALS = _set("will would shall should can could may might must 'll wo ca sha") | DO

# The closed list of words that may come between a verb and its subject or auxiliary.
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
SUPERLATIVES = _set("most least best worst")  # "the film liked the most"
NUMBERS = _set("one two three four five six seven eight nine ten")
QUANTIFIERS = _set("some any no all both each many much more few several enough lots another")
DETERMINERS = ARTICLES | DEMONSTRATIVES | QUANTIFIERS | NUMBERS
# Without "by", which may name the agent: "watched by millions".
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
    "upstairs downstairs indoors outdoors overseas minute minutes hour hours moment moments time"
)
# The words that begin a clause with a finite verb.
FINITE_AFTER = _set("after before until since")  # prepositions that also begin a clause
OPENERS = _set("because when while although though if until where why how what who whom whose that")
RELATIVES = _set("that which who whom whose as than")
LINKING = _set(
    "be get gets got getting keep keeps kept stay stays feel feels felt look looks seem seems "
    "become becomes became remain remains appear appears sound sounds go goes went lie lies lay "
    "stand stands stood leave make makes have has had let lets let's need want like"
)
# Contractions without their apostrophe, which would look like names: "Ive worked here".
CARELESS = _set(
    "ive youve weve theyve hes shes thats whos whats whys hows hed youd theyd hasnt havent hadnt "
    "isnt wasnt werent arent didnt dont doesnt im youre theyre whyre"
)
# Participles that never precede a noun, unlike "broken" in "broken windows".
NO_ADJECTIVES = _set("been had gone come done")
AUXILIARIES = _set("had did used")  # past forms that may be only an auxiliary
CONJUNCTIONS = _set("and or but nor")
# Words that may follow a verb, but not an adjective before its noun ("a finished book").
FOLLOWERS = DETERMINERS | PREPOSITIONS | OBJECTS | TIMES | ADVERBS | OPENERS
FUNCTION_WORDS = (
    FOLLOWERS | HAVE | BE | MODALS | SUBJECTS | EITHER | RELATIVES | CARELESS | CONJUNCTIONS
    | _set("by 's 'd")
) - TIMES  # fmt: skip
# The participles that do not end in -ed, a closed class.
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
    "thrust wed wrung dwelt slunk wrought clad shod wet bid broadcast sawn bust withstood beheld"
)
_PREFIXES = "re|un|over|out|mis|fore|under|up|with"
_PARTICIPLE = re.compile(
    rf".{{2,}}ed|.{{3,}}en|(?:{_PREFIXES})-?(?:{'|'.join(IRREGULAR_PARTICIPLES)})"
)
FINITE = (HAVE | BE | MODALS | CARELESS | _set("ai ain aint")) - _set("having be been being")
PRONOUNS = SUBJECTS | EITHER | DEMONSTRATIVES | INDEFINITES
JOINERS = CONJUNCTIONS | OPENERS | RELATIVES | SUBJECTS  # these begin another clause
# Before these, "had" may be an auxiliary of a later or omitted verb: "as he had before".
AFTER_HAD = (
    (PREPOSITIONS - {"to"}) | TIMES | ADVERBS | CONJUNCTIONS | OPENERS | RELATIVES | FINITE
    | _set("all both each much myself yourself himself herself itself ourselves themselves "
           "better best rather")
)  # fmt: skip
IN_TIMES = TIMES | PREPOSITIONS | NUMBERS | ADVERBS | CONJUNCTIONS | _set("the by every many")


def may_be_participle(text: str) -> bool:
    """Whether a word can be the past participle of some verb, going by its form alone."""
    if text in FUNCTION_WORDS | TIMES | NUMBERS:
        return text in HAVE | BE
    return text in IRREGULAR_PARTICIPLES or _PARTICIPLE.fullmatch(text) is not None
