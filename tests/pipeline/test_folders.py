"""Studies in folders of their own: the code is in one place, and everything else in the folder."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from kill_at_random import kill_all
from study import Run, Study

NAME = "my study"
QUOTED = f"'{NAME}'"
CORPUS = "own/corpus"
HEADLINE = "experiments/28-lora-finetune"
# What names the corpus, the folder, or the project's files, unlike the project's own results.
NAMING = re.compile(r"^data/|manifest\.json$|^REPORT\.md$|^own/")


class Folder(Study):
    """A study's folder, and the project whose code it runs."""

    def __init__(self, root: Path, project: Study) -> None:
        super().__init__(root)
        self.project = project

    @classmethod
    def begin(cls, root: Path, project: Study, config: str) -> Folder:
        """A folder that holds only a config."""
        root.mkdir(parents=True)
        (root / "config.yaml").write_text(config, encoding="utf-8")
        return cls(root, project)

    def copied_to(self, root: Path, project: Study) -> Folder:
        return Folder(self.copy(root).root, project)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"PYTHONPATH": str(self.project.root)}

    @property
    def outside(self) -> Study:
        """The folder around it, where commands that name it are typed."""
        return Folder(self.root.parent, self.project)

    def minituner(self, *arguments: str) -> Run:
        """A command, typed outside."""
        return self.outside.run("-m", "minituner", *arguments)


@pytest.fixture(scope="module")
def own(finished: Study, tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """A finished study in a folder, with a corpus of its own and the project's other settings."""
    root = tmp_path_factory.mktemp("folders") / NAME
    study = Folder.begin(root, finished, f"data: {{ corpus: {CORPUS} }}\n")
    shutil.copytree(finished.root / "data/processed/verb-corpus", root / CORPUS)
    before = finished.hashes()
    done = study.minituner("run", NAME)
    assert done.code == 0, done.output
    assert finished.hashes() == before
    return study


def test_results_are_those_of_the_project_with_the_same_settings(own: Folder) -> None:
    ours, theirs = own.hashes(), own.project.hashes()
    compared = {name for name in ours if not NAMING.search(name)}
    assert {f"{HEADLINE}/adapter_final.pt", f"{HEADLINE}/metrics.json"} <= compared
    assert {name: ours[name] for name in compared} == {name: theirs[name] for name in compared}


def test_results_are_the_same_wherever_they_were_made(own: Folder) -> None:
    places = [str(path).encode() for path in (own.root.parent, own.project.root)]
    for name in own.hashes():
        content = (own.root / name).read_bytes()
        assert not any(place in content for place in places), name
    report = (own.root / "REPORT.md").read_text(encoding="utf-8")
    assert "`minituner run . report` in the study's folder" in report


def test_moving_the_study_and_the_project_reruns_nothing(own: Folder, tmp_path: Path) -> None:
    project = own.project.copy(tmp_path / "project, moved")
    moved = own.copied_to(tmp_path / "moved", project)
    again = moved.minituner("run", "moved")
    assert again.code == 0 and "Nothing to be done" in again.output, again.output
    verified = moved.minituner("verify", "moved")
    assert verified.code == 0, verified.output
    shutil.rmtree(moved.root / ".snakemake")
    assert moved.minituner("verify", "moved").code == 0
    assert moved.snakemake("-s", str(project.root / "Snakefile"), "report").rules == set()


def test_an_edit_reruns_what_it_does_in_the_project(own: Folder, tmp_path: Path) -> None:
    project = own.project.copy(tmp_path / "project")
    study = own.copied_to(tmp_path / NAME, project)
    corpus = study.root / CORPUS / "irregular.jsonl"
    lines = corpus.read_text(encoding="utf-8").splitlines()
    corpus.write_text("\n".join(reversed(lines)) + "\n", encoding="utf-8")
    done = study.minituner("run", NAME, "--cores", "2")
    assert done.code == 0, done.output
    assert done.rules == {"filter", "split", "tokenize"}
    with (project.root / "minituner/reporting/plots.py").open("a") as stream:
        stream.write("\n# a comment\n")
    planned = study.minituner("run", NAME, "--dry-run")
    assert planned.rules == {"plot", "plot_pretraining", "render"}


def test_commands_read_the_study_that_they_are_told(own: Folder) -> None:
    sentence = "He __ to school yesterday."
    outside = own.minituner("predict", "--study", NAME, "--json", sentence)
    inside = own.run("-m", "minituner", "predict", "--json", sentence)
    assert outside.code == inside.code == 0, outside.output
    assert outside.output == inside.output
    assert own.run("-m", "minituner", "verify").code == 0
    missing = own.minituner("predict", "--study", NAME, "--adapter", "no.pt", sentence)
    assert f"minituner run {QUOTED} report\n" in missing.output
    nowhere = own.minituner("predict", "--study", "my-sutdy", sentence)
    assert nowhere.code == 1 and "my-sutdy: there is no such folder" in nowhere.output


def test_plan_reads_the_study_that_it_is_told(own: Folder, tmp_path: Path) -> None:
    study = Folder.begin(tmp_path / NAME, own.project, "ranks: [4, 8]\n")
    before = own.project.hashes()
    planned = study.minituner("plan", NAME)
    assert planned.code == 0, planned.output
    assert re.search(r"^\D*\b4\b", planned.output, re.MULTILINE)
    wrong = study.minituner("plan", NAME, "--config", f"{NAME}/no.yaml")
    assert wrong.code == 1 and "Traceback" not in wrong.output
    assert own.project.hashes() == before


def test_remedies_work_where_they_are_printed(own: Folder, tmp_path: Path) -> None:
    study = own.copied_to(tmp_path / NAME, own.project)
    deleted = study.root / HEADLINE / "gates.json"
    content = deleted.read_bytes()
    deleted.unlink()
    verified = study.minituner("verify", NAME)
    command = verified.output.partition("To fix it:\n")[2].strip()
    assert command == (
        f"minituner run {QUOTED} --force {HEADLINE}/gates.json && minituner run {QUOTED} report"
    )
    fixed = study.outside.shell(command.replace("minituner", f"{sys.executable} -m minituner"))
    assert fixed.code == 0, fixed.output
    assert deleted.read_bytes() == content
    assert study.minituner("verify", NAME).code == 0


def test_second_study_is_refused_and_pointed_to_a_folder(own: Folder, tmp_path: Path) -> None:
    study = own.copied_to(tmp_path / NAME, own.project)
    (study.root / "more.yaml").write_text("ranks: [2, 4, 8]\n")
    overlay = ("--configfile", f"{NAME}/more.yaml", "--", "ablations")
    refused = study.minituner("run", NAME, *overlay)
    assert refused.code != 0 and refused.jobs == []
    assert "Traceback" not in refused.output
    for text in (
        "minituner init more, write what more.yaml sets into its config.yaml",
        f"continue the other study: minituner run {QUOTED} report\n",
        f"replace its results: minituner run {QUOTED} --configfile '{NAME}/more.yaml' "
        "--config overwrite_results=true -- ablations\n",
    ):
        assert text in refused.output
    forced = study.minituner("run", NAME, "-n", "--config", "overwrite_results=true", *overlay)
    assert forced.code == 0, forced.output
    assert study.hashes() | {"more.yaml": ""} == own.hashes() | {"more.yaml": ""}


def test_error_of_a_job_names_the_folder(own: Folder, tmp_path: Path) -> None:
    config = "base: { checkpoint: own.pt, tokenizer: tokenizer.json, corpus: null }\n"
    study = Folder.begin(tmp_path / NAME, own.project, config)
    shutil.copy(own.root / "experiments/17-minigpt-train/tokenizer.json", study.root)
    (study.root / "own.pt").write_bytes(b"not a checkpoint")
    failed = study.snakemake(
        *("-s", str(own.project.root / "Snakefile"), "--directory", f"../{NAME}", "--cores", "1"),
        *("--target-files-omit-workdir-adjustment",),
        "experiments/28-lora-ablate-rank/base/metrics.json",
    )
    assert failed.code != 0
    assert f"or delete it and run: minituner run '../{NAME}' report\n" in failed.output


def test_two_studies_at_once_touch_only_their_own_files(own: Folder, tmp_path: Path) -> None:
    configs = {"one": "ranks: [2, 4, 8]\n", "two": "ranks: [8]\nseeds: [3]\n"}
    studies = [Folder.begin(tmp_path / k, own.project, text) for k, text in configs.items()]
    before = {study.root: study.hashes() for study in (*studies, own, own.project)}
    snakemake = [sys.executable, "-m", "snakemake", "-s", str(own.project.root / "Snakefile")]
    processes = [
        subprocess.Popen(
            [*snakemake, "--directory", study.root.name, "--dry-run", "report"],
            cwd=tmp_path,
            env=study.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for study in studies
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert [Run(0, output).jobs.count("train") for output in outputs] == [3, 1]
    for study in (*studies, own, own.project):
        assert study.hashes() == before[study.root]
    assert not [path for study in studies for path in study.root.iterdir() if path.is_dir()][2:]


def test_run_is_snakemake_itself(own: Folder, tmp_path: Path) -> None:
    """So the exit code is Snakemake's, and Ctrl-C reaches it and its jobs as ever."""
    empty = Folder(tmp_path / "empty", own.project)
    empty.root.mkdir()
    refused = empty.minituner("run", "empty")
    assert refused.code == 1
    assert "check the folder's name, or begin a study: minituner init empty\n" in refused.output
    study = Folder.begin(tmp_path / "stopped", own.project, "seeds: [0]\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "minituner", "run", "stopped"],
        cwd=tmp_path,
        env=study.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    study.wait_for("data/filtered/manifest.json")
    assert "snakemake" in " ".join(psutil.Process(process.pid).cmdline()[:3])
    kill_all(process)
    unlocked = study.minituner("run", "stopped", "--unlock")
    assert unlocked.code == 0, unlocked.output
    assert study.minituner("run", "stopped", "-j", "1", "data/splits/manifest.json").code == 0


MODULE = """
configfile: "config.yaml"


module minituner:
    snakefile:
        "{snakefile}"
    config:
        config["verbs"]


use rule * from minituner as verbs_*


rule all:
    default_target: True
    input:
        rules.verbs_report.input,


onstart:
    minituner.onstart()
"""


def test_pipeline_is_a_module_of_another_workflow(own: Folder, tmp_path: Path) -> None:
    study = Folder.begin(tmp_path / "outer", own.project, "verbs: { ranks: [4, 8] }\n")
    snakefile = own.project.root / "Snakefile"
    (study.root / "Snakefile").write_text(MODULE.format(snakefile=snakefile), encoding="utf-8")
    planned = study.snakemake("--cores", "1", "--dry-run")
    assert planned.code == 0, planned.output
    assert planned.jobs.count("verbs_train") == 2
    assert {"verbs_tokenize", "verbs_render", "all"} <= set(planned.jobs)
    done = study.snakemake("--cores", "2", "data/tokenized/summary.json")
    assert done.code == 0, done.output
    assert {"verbs_filter", "verbs_train_tokenizer", "verbs_tokenize"} <= set(done.jobs)
    for split in ("train", "test", "control"):
        file = f"data/tokenized/{split}.jsonl"
        assert (study.root / file).read_bytes() == (own.root / file).read_bytes()
    assert "config.yaml" in (study.root / "experiments/study.json").read_text()
    ablations = study.snakemake("--cores", "1", "--dry-run", "verbs_ablations")
    assert ablations.code == 0 and "verbs_train_full" in ablations.jobs, ablations.output
    (study.root / "config.yaml").write_text("verbs: { rank: 4 }\n", encoding="utf-8")
    refused = study.snakemake("--cores", "1", "--dry-run")
    assert "config.yaml: rank: unknown key" in refused.output


def test_new_study_runs_as_it_is(own: Folder, tmp_path: Path) -> None:
    study = Folder(tmp_path / "plurals", own.project)
    begun = study.minituner("init", "plurals")
    assert begun.code == 0 and "    minituner run plurals\n" in begun.output
    done = study.minituner("run", "plurals")
    assert done.code == 0, done.output
    assert study.minituner("verify", "plurals").code == 0
    report = (study.root / "REPORT.md").read_text(encoding="utf-8")
    assert "irregular plurals" in report and "goed" not in report
