"""The ablations' report from its real templates: the words follow each arm's outcome."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from example_results import arm_row, arm_summary, committed, interval
from markdown import cells, prose_of, tables_of
from project import ROOT

from minituner.reporting.ablations_report import (
    arm_verdict,
    changes,
    render_ablations,
    write_ablations_report,
)
from minituner.results import ArmRow, ArmSummary
from minituner.storage.files import write_json

TEMPLATE = ROOT / "minituner/reporting/templates/ABLATIONS.md.j2"
CONFIG = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
SETTINGS = {key: CONFIG[key] for key in ("task", "lora", "train", "gates")}


def study(rank: int = 8, **other: Any) -> ArmRow:
    return arm_row(rank, **({"run": "study", "is_study": True} | other))


def compared(
    run: str, rank: int | None = 8, p: float = 1.0, by: float = 0.0, **other: Any
) -> ArmRow:
    """A run whose accuracy differs from the study's by ``by``; p-values are ``p``."""
    drift = interval(0.0)
    versus = {**interval(by), "p": p, "adjusted_p": p, "text_drift": other.pop("versus", drift)}
    return arm_row(rank, **({"run": run, "versus_study": versus} | other))


def full_run(run: str, versus: Any, **other: Any) -> ArmRow:
    """A run that trains all weights; its drift minus the study's is ``versus``."""
    fields = {"size_ratio": 1.0, "base_max_abs_diff": 0.25, "scale_audit": []}
    return compared(run, None, versus=versus, **(fields | other))


def words(summary: ArmSummary, arm: str = "mine") -> str:
    """The sentences on one arm, on one line."""
    text = render_ablations(TEMPLATE, {arm: summary}, SETTINGS)
    section = text.partition(f'<a id="{arm}"></a>')[2].partition("\n## How runs")[0]
    return prose_of(section)


# --- how the runs compare with the study --------------------------------------------------------


def test_runs_that_do_not_differ() -> None:
    text = words(arm_summary([study(), compared("a", p=0.4), compared("b", p=0.3)]))
    assert "No run's accuracy differs significantly from the study's" in text
    assert "(smallest Holm-adjusted p: 0.300)" in text


def test_runs_that_differ_are_named_with_their_difference() -> None:
    rows = [study(), compared("better", p=0.02, by=0.4), compared("same"), compared("c", p=0.0001)]
    text = words(arm_summary(rows))
    assert (
        "Significantly different from the study in accuracy: "
        "`better` by +40.0 [+35.0, +45.0] points (p = 0.020); "
        "`c` by +0.0 [-5.0, +5.0] points (p < 0.001)."
    ) in text
    rows[1] = compared("better", rank=4, p=0.02)
    assert "`better` at r = 4 by" in words(arm_summary(rows)), "where an arm has several ranks"


def test_the_level_of_significance_follows_the_confidence() -> None:
    rows = [study(), compared("a", p=0.08)]
    assert "No run's accuracy differs" in words(arm_summary(rows, confidence=0.95))
    assert "`a` by +0.0" in words(arm_summary(rows, confidence=0.9))


def test_arms_without_the_study_or_without_other_runs() -> None:
    assert "contains no run of the study" in words(arm_summary([arm_row(8, run="other")]))
    assert "Every run of this arm is one of the study's own." in words(arm_summary([study()]))


# --- what the kinds of arms show ----------------------------------------------------------------


def over_ranks(contrast: Any, gap: float = 0.2, key: str = "lora.use_rslora") -> ArmSummary:
    """The study and another setting at the ranks 2 and 32."""
    rows = [study(2), study(32)]
    for rank, size in ((2, 0.02), (32, 0.08)):
        audit = [{"layer": "all", "relative_norm": size, "effective_rank": 2.0, "largest_b": 0.1}]
        rows.append(compared("other", rank, changes={key: True}, scale_audit=audit))
    summary = arm_summary(rows)
    summary["gaps"] = {
        "study": {**interval(0.01), "versus_study": None},
        "other": {**interval(gap), "versus_study": contrast},
    }
    return summary


def test_changes_over_the_ranks() -> None:
    text = words(over_ranks(interval(0.0)))
    assert (
        "Under `study`, accuracy changes by +1.0 [-4.0, +6.0] points (not significant) from r = 2 "
        "to r = 32, while the update goes from 5.00 % to 5.00 % of the weights' norm. Under "
        "`other`, accuracy changes by +20.0 [+15.0, +25.0] points from r = 2 to r = 32, while the "
        "update goes from 2.00 % to 8.00 % of the weights' norm."
    ) in text


@pytest.mark.parametrize(
    ("contrast", "sentence"),
    [
        (interval(0.0), "There is no evidence that these changes depend on the scaling"),
        (interval(0.3, None), "There is no evidence that these changes depend on the scaling"),
        (interval(0.3), "under `other` the change differs from the study's by +30.0 [+25.0, +35.0"),
        (
            interval(-0.3),
            "under `other` the change differs from the study's by -30.0 [-35.0, -25.0",
        ),
    ],
)
def test_the_effect_of_the_scaling(contrast: Any, sentence: str) -> None:
    text = words(over_ranks(contrast))
    assert sentence in text
    assert ("which acts like a learning rate" in text) == ("differs" in sentence)


def test_the_scaling_is_not_mentioned_where_it_is_not_varied_or_not_compared() -> None:
    assert "scaling" not in words(over_ranks(interval(0.3), key="train.epochs"))
    summary = over_ranks(None)
    assert "depend on the scaling" not in words(summary)


def full_arm(versus: float, gain: float = 0.4) -> ArmSummary:
    """LoRA and two full runs; the first is chosen, the second forgets less."""
    summary = arm_summary(
        [
            study(gain=interval(0.4), text_drift=interval(0.1)),
            full_run("lr-1", interval(versus), gain=interval(gain), text_drift=interval(0.5)),
            full_run("lr-2", interval(versus), gain=interval(gain), text_drift=interval(0.3)),
        ]
    )
    summary["chosen"] = {"run": "lr-1", "rank": None}
    return summary


@pytest.mark.parametrize(
    ("versus", "outcome"),
    [
        (0.2, "forgets less (the drifts differ by +20.00 [+15.00, +25.00] points)"),
        (-0.2, "forgets more (the drifts differ by -20.00 [-25.00, -15.00] points)"),
        (0.0, "does not differ significantly in forgetting (the drifts differ by +0.00 [-5.00"),
    ],
)
def test_full_fine_tuning_compared_with_the_frozen_base(versus: float, outcome: str) -> None:
    text = words(full_arm(versus))
    assert "Of the full runs, the validation split chose `lr-1`." in text
    assert "no base weight moves by more than 0.25" in text
    assert (
        f"Compared with `lr-1`, LoRA keeps the base intact, needs a smaller file, and {outcome}"
        in (text)
    )
    assert "`lr-2` forgets least, with a drift of +30.00 %" in text
    assert f"compared with it, LoRA {outcome}" in text


def test_full_runs_that_gain_less_are_not_compared_at_equal_gain() -> None:
    text = words(full_arm(0.2, gain=0.3))
    assert "No full run gains as much as LoRA does." in text
    assert "forgets least" not in text


def test_full_runs_over_another_base_are_not_compared_in_forgetting() -> None:
    summary = full_arm(0.2)
    for row in summary["rows"][1:]:
        cast(Any, row["versus_study"])["text_drift"] = None
    text = words(summary)
    assert "Of the full runs, the validation split chose `lr-1`." in text
    assert "forgets" not in text and "No full run gains" not in text


def test_the_choice_of_layers() -> None:
    summary = arm_summary([study(run="fc2"), compared("fc1")])
    summary["chosen"] = {"run": "fc1", "rank": 8}
    text = words(summary)
    assert "No other run is better in both gain and drift than `fc1`, `fc2`." in text
    assert "chooses `fc1` among the runs that store less than 1.0 % of the base" in text
    summary["chosen"] = None
    assert "No run stores less than 1.0 % of the base, so none can be chosen." in words(summary)


@pytest.mark.parametrize(
    ("gain", "outcome"),
    [
        (interval(0.3), "something beyond what was trained improves."),
        (interval(0.0), "there is no evidence that anything changes beyond what was trained."),
        (interval(0.3, None), "there is no evidence that anything changes beyond"),
        (interval(-0.3), "what is left out gets worse."),
    ],
)
def test_left_out_verbs(gain: Any, outcome: str) -> None:
    summary = arm_summary([study(), compared("go")])
    summary["front"] = []
    summary["held_out"] = {
        "sentences": 24,
        "base": interval(0.5),
        "left_out": interval(0.75),
        "gain": gain,
        "study": interval(0.9),
    }
    text = words(summary)
    assert f"90.0 % when trained on): {outcome}" in text
    assert "All left-out verbs together (24 sentences, each scored by the run" in text
    assert "75.0 % right, compared with 50.0 % before tuning" in text
    summary["held_out"]["study"] = None
    assert f"points: {outcome}" in words(summary)


def test_changes_are_in_the_words_of_the_config() -> None:
    change = {
        "lora.alpha": 4,
        "train.learning_rate": 3e-5,
        "lora.target_modules": ["q_proj", "v_proj"],
        "lora.use_rslora": True,
        "base.pretrain.seed": 1,
    }
    assert changes(arm_row(8, changes=change)) == [
        *("alpha: 4", "learning_rate: 3e-05", "target_modules: q_proj, v_proj"),
        *("use_rslora: true", "base seed: 1"),
    ]
    assert changes(study(changes=change)) == []


# --- the page as a whole ------------------------------------------------------------------------


def held_out_arm() -> ArmSummary:
    summary = arm_summary([study(), compared("go", changes={"train.held_out_verb": "go"})])
    pooled = interval(0.5)
    summary["held_out"] = {
        **{"sentences": 6, "base": pooled, "left_out": pooled, "gain": pooled, "study": None}
    }
    return summary


ARMS: dict[str, ArmSummary] = {
    "scaling": over_ranks(interval(0.2)),
    "targets": arm_summary([study(), compared("q+v", changes={"lora.alpha": 1})]),
    "full": full_arm(0.2),
    "verbs": held_out_arm(),
    "my_own": arm_summary([arm_row(8, run="other", changes={"train.epochs": 6})]),
}


@pytest.mark.parametrize("chosen", [list(ARMS), [], *([arm] for arm in ARMS)])
def test_nothing_is_left_unfilled_and_every_table_is_a_table(chosen: list[str]) -> None:
    text = render_ablations(TEMPLATE, {arm: ARMS[arm] for arm in chosen}, SETTINGS)
    for trace in ("{{", "{%", "None", "nan", "ndefined", "True", "False", "  "):
        assert trace not in text
    assert not re.search(r"\d\.\d{7}", text), "a number without a filter"
    assert "\n\n\n" not in text
    tables = tables_of(text)
    assert len(tables) == len(chosen)
    for lines in tables:
        assert {cells(line) for line in lines} == {cells(lines[0])}, lines
    for arm in chosen:
        assert f"`snakemake ablate_{arm}`" in text
        assert f"../28-lora-ablate-{arm}/{arm}.png" in text
    assert ("No arm is enabled" in text) == (not chosen)


def test_rows_say_what_differs_and_which_is_chosen() -> None:
    text = render_ablations(TEMPLATE, {"full": ARMS["full"]}, SETTINGS)
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert rows[0].startswith("| study | 8 | the study | 8,000 | 0.80 % |")
    assert rows[1].startswith("| lr-1 **chosen** | all | all weights | 100,000 | 100.00 % |")
    changed = copy.deepcopy(ARMS["full"])
    changed["rows"][1]["changes"] = {"train.learning_rate": 3e-5}
    text = render_ablations(TEMPLATE, {"full": changed}, SETTINGS)
    assert "| all | all weights, `learning_rate: 3e-05` |" in text


def test_write_ablations_report_reads_the_summaries(tmp_path: Path) -> None:
    paths = {arm: tmp_path / f"{arm}.json" for arm in ARMS}
    for arm, summary in ARMS.items():
        write_json(paths[arm], summary)
    splits = {"train": {"pairs": 4, "by_group": {"go": 4}}}
    write_json(tmp_path / "pairs.json", {"splits": splits})
    write_ablations_report(
        TEMPLATE, paths, tmp_path / "pairs.json", SETTINGS, tmp_path / "REPORT.md"
    )
    expected = render_ablations(TEMPLATE, ARMS, SETTINGS)
    assert (tmp_path / "REPORT.md").read_text(encoding="utf-8") == expected


def test_the_body_follows_the_kind_of_arm() -> None:
    kinds = {arm: arm_verdict(summary).body for arm, summary in ARMS.items()}
    assert kinds == {
        "scaling": "rank_changes",
        "targets": "choice",
        "full": "full",
        "verbs": "held_out",
        "my_own": "choice",
    }


def test_the_committed_report_is_that_of_the_committed_summaries() -> None:
    enabled = [arm for arm, ablation in CONFIG["ablations"].items() if ablation["enabled"]]
    arms = {arm: committed(f"28-lora-ablate-{arm}/summary.json") for arm in enabled}
    report = ROOT / "experiments/28-lora-ablations/REPORT.md"
    assert render_ablations(TEMPLATE, arms, SETTINGS) == report.read_text(encoding="utf-8")
