"""docs/verbs.md, followed step by step."""

from __future__ import annotations

import re
import shutil
from itertools import product
from pathlib import Path

import pytest
import yaml
from study import Study

TEXT = (Path(__file__).parent.parent.parent / "docs/verbs.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The page's code blocks in one language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


TABLE = blocks("csv")[0]
CONVERT, CLEAR, RUN = blocks("sh")
VERB, DATA, BASE = blocks("yaml")


def more_sentences() -> str:
    """Enough sentences for every split, with many words that the base has not read."""
    subjects = ("Maria", "The old captain", "We", 'They, ""the twins"",')
    predicates = ("took the ferry", "had taken the tram", "walked the dog", "had played the tune")
    ends = ("downtown", "at the café 😀", "along the quay", "in Zürich", "until dusk", "for fun")
    return "".join(f'"{" ".join(words)}.",,\n' for words in product(subjects, predicates, ends))


def write_own(root: Path) -> None:
    """The files that the page tells its reader to write into ``own/``."""
    own = root / "own"
    own.mkdir()
    (own / "sentences.csv").write_text(TABLE + more_sentences(), encoding="utf-8")
    verbs = (root / "data/raw/verbs.yaml").read_text(encoding="utf-8")
    (own / "verbs.yaml").write_text(verbs + "\n" + VERB, encoding="utf-8")
    (own / "config.yaml").write_text(DATA, encoding="utf-8")


@pytest.fixture(scope="module")
def followed(finished: Study, tmp_path_factory: pytest.TempPathFactory) -> Study:
    study = finished.copy(tmp_path_factory.mktemp("own") / "study")
    write_own(study.root)
    converted = study.shell(CONVERT)
    assert converted.code == 0, converted.output
    return study


def test_study_of_own_sentences_and_verbs(followed: Study) -> None:
    refused = followed.shell(RUN)
    assert refused.code != 0
    assert "give this study a folder of its own: minituner init ../own" in refused.output
    assert followed.shell(CLEAR).code == 0
    done = followed.shell(RUN)
    assert done.code == 0, done.output
    report = (followed.root / "REPORT.md").read_text(encoding="utf-8")
    (unseen,) = re.findall(r"Words that the base has never read make up\s(.*)", report)
    assert '"captain"' in unseen or '"ferry"' in unseen or '"taken"' in unseen
    assert not re.search(r" 0\.0 % of train", unseen)
    assert "The train, val and test splits hold take;" in report
    assert followed.shell(RUN).rules == set()


def test_base_of_another_study_is_used(followed: Study, tmp_path: Path) -> None:
    study = followed.copy(tmp_path / "study")
    for name in ("best.pt", "tokenizer.json"):
        shutil.copy(study.root / "experiments/17-minigpt-train" / name, study.root / "own" / name)
    config = yaml.safe_load(DATA) | yaml.safe_load(BASE)
    (study.root / "own/config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    done = study.shell(RUN)
    assert done.code == 0, done.output
    assert not done.rules & {"train_tokenizer", "pretrain_base"}
    assert "is not known" in (study.root / "REPORT.md").read_text(encoding="utf-8")
