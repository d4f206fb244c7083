"""The tense of a form: hand-labeled sentences, the project's own corpus, and every apostrophe."""

from __future__ import annotations

import dataclasses
import unicodedata

import pytest
from project import ROOT

from minituner.convert.conversion import convert
from minituner.convert.table import Sentence
from minituner.data.corpus import read_rows
from minituner.data.spelling import APOSTROPHES
from minituner.data.verbs import PERSONS, Verb, load_verbs

CORPUS = [ROOT / f"data/processed/verb-corpus/{kind}.jsonl" for kind in ("irregular", "regular")]


@pytest.fixture(scope="module")
def study() -> dict[str, Verb]:
    return load_verbs(ROOT / "data/raw/verbs.yaml")


@pytest.fixture(scope="module")
def verbs(study: dict[str, Verb]) -> dict[str, Verb]:
    """The study's verbs and some with forms of other kinds."""
    more = [
        ("put", "put", "put"),  # one form for all
        ("boil", "boiled", "boiled"),  # an adjective, too
        ("close", "closed", "closed"),
        ("get", "got", "got"),
        ("use", "used", "used"),
        ("break", "broke", "broken"),
        ("take", "took", "taken"),
        ("lie", "lay", "lain"),  # its past is the present of the next
        ("lay", "laid", "laid"),
    ]
    return study | {
        lemma: dataclasses.replace(
            study["walk"],
            lemma=lemma,
            present=dict.fromkeys(PERSONS, lemma) | {"3sg": f"{lemma}s"},
            past=dict.fromkeys(PERSONS, past),
            participle=participle,
        )
        for lemma, past, participle in more
    }


def found(sentence: Sentence | str, verbs: dict[str, Verb]) -> str:
    """The sentence with its answer in brackets and its tense's initial, "doubtful" or "none"."""
    if isinstance(sentence, str):
        sentence = Sentence(sentence)
    done = convert([sentence], verbs, "own")
    assert len(done.rows) + len(done.doubtful) + len(done.without_form) == 1
    if not done.rows:
        return "doubtful" if done.doubtful else "none"
    row = done.rows[0]
    assert row["prompt"] and row["target"]
    answer = f"[{row['target']}]{'p' if row['tense'] == 'past_participle' else 's'}"
    return row["prompt"].replace("__", answer)


PARTICIPLES = """
He hasn't [gone]p yet.
They\u2019ve already [eaten]p.
She had [eaten]p before we came.
We had not really [seen]p it.
I have [come]p home.
He has [put]p it there.
They have never [worked]p.
They have not always [worked]p hard.
He would have [gone]p.
They could have [eaten]p.
I should've [gone]p.
I'd've [gone]p.
He will have [written]p it.
Having [gone]p home, she slept.
I am happy to have [seen]p you.
Had she [gone]p?
Has he really ever [been]p there?
Where have you [been]p?
How long have you [worked]p here?
Has Maria [worked]p here?
Never have I [eaten]p so well.
Hasn't she [finished]p it?
He had [had]p lunch.
Having [had]p lunch, he left.
There had [been]p a storm.
The cake has [been]p eaten.
The book had [been]p written by her.
It's [been]p a long day.
It's [had]p its day.
he'd [worked]p
He'd [gone]p home.
He'd [had]p lunch.
I've [got]p a car.
I've [eaten]p apples.
We have already [eaten]p apples.
It has [been]p years.
She asked if he had [eaten]p.
I 've [worked]p here.
Who has [written]p this?
She had [been]p seen and he had too.
If he had then [eaten]p it, we would know.
What have we [finished]p?
I like tea and they have [finished]p it.
"""

SIMPLE = """
He [went]s home.
She [had]s a cold.
I [had]s to go.
The teacher [had]s a cold.
He [did]s his homework.
She [did]s the dishes.
The letter [was]s written by hand.
I [was]s worked to death.
"It [was]s you," he said.
Ana and I [were]s late.
John's dog [came]s back.
The students [saw]s a fox.
He [saw]s it.
It [worked]s.
But it [worked]s.
After it [finished]s, we left.
Maria [worked]s all day.
The old man [walked]s home.
The dogs [walked]s home.
The bus driver [walked]s home.
My brother and Maria [walked]s home.
Last Monday my brother [played]s in the park.
In the evening, Maria [talked]s to a lawyer.
Yesterday we [finished]s early.
Because the dog [walked]s home, I am sad.
The meeting [started]s at noon.
Who [worked]s here?
the man who [worked]s here
We [walked]s and talked.
The film watched by millions [was]s good.
The work finished, he [went]s home.
We [ate]s half-eaten apples.
'I [went]s home,' he said.
Yesterday WE [walked]s.
He [had]s to come home.
He [had]s lunch.
We [had]s no time.
Ana and Tom [looked]s at it.
She [did]s it because we were late.
I know who [worked]s.
He [went]s to be alone.
They say he [worked]s hard.
By whom [was]s I looked at?
What [were]s they watched by?
He [ate]s as he had before.
She [ate]s more than he had yesterday.
Rarely [was]s she liked.
She [got]s him finished.
He [saw]s her finished.
He [saw]s it finished.
"""

DOUBTFUL = """
Maria's brother worked all day.
Maria's had fleas.
She's gone home.
She's come home.
He's finished.
He'd come home.
He is gone.
It is written in French.
What's he worked on?
What's he eaten?
Has the teacher worked here?
Has the teacher come?
They have, of course, gone.
They have nothing, come home.
He should of gone.
He seen it.
He has went home.
They have boiled eggs for breakfast.
He has broken ribs.
They like boiled eggs.
Eat boiled eggs.
Get started on it.
The written exams are here.
I want it finished.
Do you think it worked?
With it finished, we leave.
With the work finished on time, we leave.
The report finished on Monday is good.
The shop stays closed on Monday.
The old used car breaks down.
She isn't finished.
She had arrived.
She had left.
He had better go.
They hadn't arrived, had they?
He did arrive late.
Where did Maria go?
I used to play.
They used not to come.
If I were rich, I would go.
The saw is sharp.
He buys a saw.
They lay the table.
He put it there.
She has to put it there, and she put it there.
Ive worked here for years.
They havent worked today.
He has "worked" hard.
Maria had, as ever, no map.
Went home early.
"""

# A form of be, had or did that may be an auxiliary, wherever in the clause either is; a noun
# whose verb comes later; a form that is only spoken of.
HELPED_OR_REDUCED = """
Is she finished?
Isn't he finished?
Are they finished with it?
Were they liked?
Was she wanted by the police?
Was he looked at?
Am I wanted?
How is she liked there?
Why're they liked?
They had all gone home.
We had both finished.
They had each eaten.
She had in fact finished.
He had at last gone.
He had by then finished work.
He had long wanted it.
He had himself gone.
They had together finished it.
I had earlier gone.
We had later gone.
I had first gone.
It had at last started.
She did in fact go.
We did both go.
They did all work hard.
He did at last finish.
He did after all come home.
They did later go.
He did himself work.
He did at first like it.
Who did all go?
Everything I have I worked for.
What we have we started.
The word went is past.
The man wanted for murder lives here.
Her work finished for the day.
Tom wanted in three states runs.
Aren't we finished?
isn't she liked there?
Aint they wanted?
Where's he wanted?
Since when are they liked?
When is it finished?
She finished with it?
You wanted by the police?
They had once more walked home.
He had of late studied hard.
We had none of us eaten.
I had by noon written it.
She had on Monday started it.
They had at 9:30 gone home.
They had with Mr. Smith finished it.
They had... gone home.
She had for years wanted it.
The boys had all overslept.
We had the whole day worked.
She had in a way understood.
We had only this morning come home.
They had between them eaten it.
They did in the end leave.
She did an hour ago leave.
I did once in a while walk home.
He did the whole day work.
They did each see it.
We did ourselves write it.
She did a little later eat.
He did this morning finish.
You did for once listen.
All we had we finished.
The little they have they worked for.
What I have I wanted.
The men wanted in the town live here.
The film watched by millions lives on.
The verb "went" is irregular.
He said "went".
The past of go is went.
The form wrote is past.
The people looked at laughed.
The game played in Spain ends.
Those who have they liked.
Everything I have started with a dream.
What we have worked for us.
All he had finished in smoke.
The plan Tom liked is here.
Tom talked to laughs.
The children looked after play.
The book studied in class bores me.
The house looked at yesterday stinks.
The dogs walked every day live longer.
The film watched the most wins.
The team liked here wins.
The job finished first wins.
The job finished today pays.
He had, at last, gone home.
She did, in fact, go.
They had \u2013 at last \u2013 gone.
They had (all) gone.
Nor had the old man eaten.
Had the old man ever worked?
Have the others finished?
Did all of them go?
Only then had Tom finished it.
Little had we then seen.
So are they liked.
Not only is he wanted, he runs.
Finished she is not.
I wish I were liked.
Got it finished.
He considers it finished.
Once finished it works.
The friends Tom had worked hard.
The money we had finished in May.
He had lunch, walked home and slept.
What he had was a bad cold.
She had it done.
He had his hair cut.
They had a walked dog.
"""

NONE = """
They have to come home early.
I come here often.
Did he come?
When did he come?
Did he put it there?
Never did they all go.
He did not work.
She goes.
A half-eaten apple.
The hand-written note is here.
Hola.
"""


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


@pytest.mark.parametrize("labeled", [*lines(PARTICIPLES), *lines(SIMPLE)])
def test_tense_from_context(labeled: str, verbs: dict[str, Verb]) -> None:
    plain = labeled.replace("[", "").replace("]p", "").replace("]s", "")
    assert found(plain, verbs) == labeled


@pytest.mark.parametrize("sentence", [*lines(DOUBTFUL), *lines(HELPED_OR_REDUCED)])
def test_doubtful_tenses(sentence: str, verbs: dict[str, Verb]) -> None:
    assert found(sentence, verbs) == "doubtful"


@pytest.mark.parametrize("sentence", lines(NONE))
def test_words_that_are_not_past_forms(sentence: str, verbs: dict[str, Verb]) -> None:
    assert found(sentence, verbs) == "none"


def test_the_corpus_converts_back_to_itself(study: dict[str, Verb]) -> None:
    """No row gets another label; of 660, 15 leave a doubt ("My parents played cards")."""
    rows = [row for row in read_rows(CORPUS, study) if row.is_fill_in]
    doubtful = 0
    for row in rows:
        done = convert([Sentence(row.text, row.spanish)], study, "own")
        doubtful += len(done.doubtful)
        for made in done.rows:
            assert [made[column] for column in ("text", "prompt", "tense", "target")] == [
                row.text, row.prompt, row.tense, row.target,
            ]  # fmt: skip
        assert not done.without_form
    assert (doubtful, len(rows)) == (15, 660)
    page = " ".join((ROOT / "docs/verbs.md").read_text(encoding="utf-8").split())
    assert f"Of the {len(rows)} sentences of the study's own verb corpus" in page
    assert f"{doubtful} ({doubtful / len(rows):.1%}) are listed and none gets another label" in page


@pytest.mark.parametrize("apostrophe", APOSTROPHES)
@pytest.mark.parametrize(
    "labeled", ["He hasn't always [worked]p.", "They've [worked]p.", "'I [went]s home,' he said."]
)
def test_apostrophes_of_every_kind(apostrophe: str, labeled: str, verbs: dict[str, Verb]) -> None:
    labeled = labeled.replace("'", apostrophe)
    plain = labeled.replace("[", "").replace("]p", "").replace("]s", "")
    assert found(plain, verbs) == labeled


def test_decomposed_and_invisible_letters(verbs: dict[str, Verb]) -> None:
    verbs = verbs | {
        "sauté": dataclasses.replace(
            verbs["walk"],
            lemma="sauté",
            past=dict.fromkeys(PERSONS, "sautéed"),
            participle="sautéed",
        )
    }
    decomposed = unicodedata.normalize("NFD", "Renée ate")
    english = f"{decomposed} a pâté."
    spanish = unicodedata.normalize("NFD", "Renée comió un paté.")
    assert len(decomposed) > len("Renée ate")
    before = decomposed.removesuffix("ate")
    assert found(Sentence(english, spanish), verbs) == f"{before}[ate / comió]s a pâté."
    assert found(unicodedata.normalize("NFD", "She sautéed it."), verbs) == "She [sautéed]s it."
    assert found("She a\u00adte it.", verbs) == "She [ate]s it."


@pytest.mark.parametrize(
    ("english", "lemma", "tense", "expected"),
    [
        ("She went home and ate.", "eat", None, "She went home and [ate]s."),
        ("Maria's brother worked.", None, "past_simple", "Maria's brother [worked]s."),
        ("She's gone home.", None, "past_participle", "She's [gone]p home."),
        ("It is written in French.", "write", "past_participle", "It is [written]p in French."),
        ("He put it there.", None, "past_simple", "He [put]s it there."),
        ("She has gone and he came.", None, "past_simple", "She has gone and he [came]s."),
        ("He worked.", None, "past_participle", "doubtful"),  # it is certain, and another
        ("He went.", "eat", None, "none"),
        ("Went home.", None, "past_simple", "doubtful"),
    ],
)
def test_columns_lemma_and_tense_decide_a_doubt(
    english: str, lemma: str | None, tense: str | None, expected: str, verbs: dict[str, Verb]
) -> None:
    assert found(Sentence(english, None, lemma, tense), verbs) == expected


def test_a_form_of_two_verbs_is_doubtful(verbs: dict[str, Verb]) -> None:
    verbs = verbs | {"wend": dataclasses.replace(verbs["go"], lemma="wend")}
    assert found("He went home.", verbs) == "doubtful"
    assert found(Sentence("He went home.", lemma="go"), verbs) == "He [went]s home."


def test_the_reason_quotes_the_words_before(verbs: dict[str, Verb]) -> None:
    (doubt,) = convert([Sentence("Maria\u00b4s brother worked.")], verbs, "own").doubtful
    assert doubt[1] == (
        "`worked` may be the past simple or a past participle after `Maria\u00b4s brother`: "
        "'Maria\u00b4s brother worked.'"
    )
