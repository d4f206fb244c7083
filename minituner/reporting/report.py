"""REPORT.md: results files in, Markdown out. The words follow the outcome."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from minituner import commands
from minituner.data.verbs import Verb, load_verbs
from minituner.errors import number_of
from minituner.pipeline import paths
from minituner.storage.files import read_json

WORDS_SHOWN = 8
PREDICTIONS_SHOWN = 5
NEAR_THE_TOP = 0.95

# Where the figures lie, as seen from REPORT.md.
FIGURES = {
    "accuracy": paths.ACCURACY_FIGURE,
    "drift": paths.DRIFT_FIGURE,
    "scale": paths.SCALE_FIGURE,
    "loss": paths.LOSS_FIGURE,
    "base_loss": paths.BASE_LOSS_FIGURE,
}


def render_report(
    template: str | Path, results: Mapping[str, Any], settings: Mapping[str, Any]
) -> str:
    """Fill the template.

    Args:
        results: The contents of the results files: ``pairs``, ``sweep``, ``base_metrics``,
            ``metrics``, ``gates``, ``manifest``, ``training`` and ``pretraining`` (or ``None``);
            and ``ambiguous``, the forms that are other words too (:func:`ambiguous_forms`).
        settings: The parts of the config that the report quotes.

    Raises:
        jinja2.UndefinedError: The template asks for something that no results file holds.
    """
    return fill(template, report_context(results, settings))


def fill(template: str | Path, context: Mapping[str, Any]) -> str:
    """A template with its values in place."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
    environment.filters.update(FILTERS)
    environment.globals.update(snakemake=commands.snakemake, make=commands.make)
    text = Path(template).read_text(encoding="utf-8")
    return environment.from_string(text).render(context)


def report_context(results: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Everything the template may name."""
    sweep, metrics, gates = results["sweep"], results["metrics"], results["gates"]
    before, after = metrics["before"], metrics["after"]
    row = next(row for row in sweep["ranks"] if row["rank"] == metrics["rank"])
    data = settings["data"]
    distributions = results["pairs"]["distributions"]
    by_verb_and_form = [
        row | dict(zip(("verb", "form"), row["label"].rsplit("/", 1), strict=True))
        for row in sweep["by_verb_and_form"]
    ]
    tested = {row["verb"] for row in by_verb_and_form}
    ranks = [row["rank"] for row in sweep["ranks"]]
    return {
        **results,
        **settings,
        "irregular_verbs": data["irregular_verbs"],
        "regular_verbs": data["regular_verbs"],
        "before": before,
        "after": after,
        "ranks": ranks,
        "seeds": sweep["seeds"],
        "confidence": f"{100 * sweep['confidence']:g}",
        "elbow": sweep["elbow"],
        "by_verb_and_form": by_verb_and_form,
        "best": next(r for r in sweep["ranks"] if r["rank"] == sweep["elbow"]["best_rank"]),
        "scale_words": scale_words(sweep["ranks"]),
        "generalization": generalization_words(sweep["by_group"], metrics["rank"]),
        "mcnemar": row["mcnemar_headline_seed"],
        "paths": FIGURES,
        "failed_gates": gates_sentence(gates),
        "outcome_clause": outcome_clause(sweep),
        "interpretation": interpret(sweep),
        "scaling_formula": "alpha / sqrt(r)" if settings["lora"]["use_rslora"] else "alpha / r",
        "expected_rank": compare_with_expected(sweep["elbow"]),
        "predictions": first_predictions(before["predictions"], after["predictions"]),
        "example": after["predictions"][0],
        "frames": sorted(distributions["irregular"]["frames"] | distributions["control"]["frames"]),
        "left_out": left_out_sentence(results["pairs"].get("too_long")),
        "unseen": unseen_words_sentence(distributions["unseen_words"]),
        "missing_verbs": [verb for verb in data["irregular_verbs"] if verb not in tested],
        "control_verbs": len(results["pairs"]["splits"]["control"]["by_verb"]),
        "probe_failures": {
            "before": [row for row in before["probe"] if row["failed"]],
            "after": [row for row in after["probe"] if row["failed"]],
        },
        "smallest_probe_margin": min(row["margin_nats"] for row in after["probe"]),
    }


def first_predictions(
    before: Sequence[Mapping[str, str]], after: Sequence[Mapping[str, str]]
) -> list[dict[str, str]]:
    """The first prompt of each of the first few verbs, with both answers."""
    chosen: dict[str, dict[str, str]] = {}
    for old, new in zip(before, after, strict=True):
        chosen.setdefault(new["verb"], {**new, "before": old["answer"], "after": new["answer"]})
    return list(chosen.values())[:PREDICTIONS_SHOWN]


def left_out_sentence(too_long: Mapping[str, int] | None) -> str:
    """How many pairs of which split are longer than the model's context; nothing if none is."""
    if not too_long:
        return ""
    total = sum(too_long.values())
    by_split = ", ".join(f"{count:,} of {name}" for name, count in too_long.items())
    verb = "is" if total == 1 else "are"
    return (
        f"Left out here {verb} {number_of(total, 'pair')} longer than the model's context: "
        f"{by_split}."
    )


def unseen_words_sentence(unseen: Mapping[str, Mapping[str, Any]] | None) -> str:
    """How much of the text is new to the base."""
    if unseen is None:
        return "What the base has read is not known, so neither is how much of this is new to it."
    if not any(split["unseen"] for split in unseen.values()):
        return "The base has read every word of these sentences, if not the sentences."
    shares = ", ".join(
        f"{pct(split['unseen'] / split['words'])} of {name}" for name, split in unseen.items()
    )
    most = list(dict.fromkeys(word for split in unseen.values() for word in split["most"]))
    shown = ", ".join(f'"{word}"' for word in most[:WORDS_SHOWN])
    examples = f", such as {shown}" if shown else ""
    return f"Words that the base has never read make up {shares}{examples}."


def gates_sentence(gates: Mapping[str, Mapping[str, Any]]) -> str:
    """Whether the gates hold, in one sentence."""
    failed = [f"`{name}`" for name, gate in gates.items() if not gate["pass"]]
    if failed:
        return f"**The run fails {', '.join(failed)}.**"
    return f"All {len(gates)} gates pass."


def ambiguous_forms(verbs: Mapping[str, Verb], lemmas: Sequence[str]) -> list[dict[str, str]]:
    """The forms of these verbs that are other words as well, and what they mean then."""
    return [
        {
            "verb": lemma,
            "word": word,
            "meaning": meaning,
            "side": "wrong"
            if word in (verbs[lemma].wrong_past, verbs[lemma].wrong_participle)
            else "right",
        }
        for lemma in lemmas
        for word, meaning in verbs[lemma].ambiguous.items()
    ]


# --- the words for the sweep's outcome ----------------------------------------------------------

OUTCOME_CLAUSES = {
    "flat": "the rank made no difference that this study can see",
    "elbow": "r = {rank} is the smallest rank that is not shown to be worse than the best",
    "rising": "accuracy still rises at the largest rank, r = {rank}",
    "floor": "no gain over the base could be shown",
    "ceiling": "every rank is at the top of the scale, so they cannot be told apart",
}


def outcome_clause(sweep: Mapping[str, Any]) -> str:
    """The outcome in half a sentence."""
    elbow = sweep["elbow"]
    if elbow["outcome"] == "flat":
        if len(sweep["ranks"]) == 1:
            return "a single rank says nothing of the rank"
        if worse := _worse_than_best(sweep):
            return (
                f"the smallest and the largest do not differ, but r = {elbow['best_rank']} beats "
                f"{worse}"
            )
    return OUTCOME_CLAUSES[elbow["outcome"]].format(**elbow)


def _worse_than_best(sweep: Mapping[str, Any]) -> str:
    """The ranks that are significantly worse than the best, in words; "" if there is none."""
    alpha = 1 - sweep["confidence"]
    worse = [str(r) for r, p in sweep["elbow"]["adjusted_p"].items() if p <= alpha]
    return "r = " + ", ".join(worse) if worse else ""


def interpret(sweep: Mapping[str, Any]) -> str:
    """A paragraph on the accuracy and one sentence on the drift, for any outcome."""
    words = {
        "flat": _flat,
        "elbow": _elbow,
        "rising": _rising,
        "floor": _floor,
        "ceiling": _ceiling,
    }[sweep["elbow"]["outcome"]]
    best = next(r for r in sweep["ranks"] if r["rank"] == sweep["elbow"]["best_rank"])
    return f"{words(sweep, best)} {_on_drift(sweep)}"


def _flat(sweep: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    first, last = sweep["ranks"][0], sweep["ranks"][-1]
    if first is last:
        return (
            f"**One rank only, r = {first['rank']}: there is no curve.** Its accuracy is "
            f"{interval_pct(first['accuracy'])}."
        )
    gap = interval_pp(sweep["elbow"]["largest_minus_smallest"])
    ends = (
        f"Accuracy is {pct(first['accuracy']['mean'])} at r = {first['rank']} and "
        f"{pct(last['accuracy']['mean'])} at r = {last['rank']}, a difference of {gap} points "
        "whose interval includes zero."
    )
    if worse := _worse_than_best(sweep):
        return (
            f"**The curve ends where it began, but is not flat in between:** r = {best['rank']} "
            f"({pct(best['accuracy']['mean'])}) is significantly better than {worse}. {ends} So "
            "there is no elbow to report."
        )
    return (
        f"**The curve is flat: there is no elbow to report.** {ends} No larger rank is shown to be "
        f"worth its weights: r = {first['rank']} has {thousands(first['trained_parameters'])} of "
        f"them, r = {last['rank']} {thousands(last['trained_parameters'])}.{_room(best)}"
    )


def _elbow(sweep: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    first, last = sweep["ranks"][0], sweep["ranks"][-1]
    elbow = sweep["elbow"]
    return (
        f"**The elbow is at r = {elbow['rank']}**: the smallest rank that is not shown to be worse "
        f"than the best, r = {best['rank']} ({pct(best['accuracy']['mean'])}). From "
        f"r = {first['rank']} to r = {last['rank']} accuracy changes by "
        f"{interval_pp(elbow['largest_minus_smallest'])} points."
    )


def _rising(sweep: Mapping[str, Any], _best: Mapping[str, Any]) -> str:
    first, last = sweep["ranks"][0], sweep["ranks"][-1]
    return (
        f"**Accuracy still rises at the largest rank, r = {last['rank']}: no plateau inside this "
        f"sweep.** From r = {first['rank']} it gains "
        f"{interval_pp(sweep['elbow']['largest_minus_smallest'])} points, and every smaller rank "
        "is significantly worse. Larger ranks would have to be tried."
    )


def _floor(_sweep: Mapping[str, Any], best: Mapping[str, Any]) -> str:
    gain = best["gain"]
    if gain["high"] < 0:
        return (
            f"**Every adapter is worse than the base:** even the best rank, r = {best['rank']}, "
            f"changes accuracy by {interval_pp(gain)} points. There is no curve to find an elbow "
            "on."
        )
    return (
        f"**No gain could be shown at any rank:** even the best, r = {best['rank']}, gains "
        f"{interval_pp(gain)} points over the base, an interval that includes zero. There is no "
        "curve to find an elbow on."
    )


def _ceiling(sweep: Mapping[str, Any], _best: Mapping[str, Any]) -> str:
    first, last = sweep["ranks"][0], sweep["ranks"][-1]
    return (
        "**Every rank is at the top of the scale, so there is no elbow to report.** From "
        f"r = {first['rank']} ({pct(first['accuracy']['mean'])}) on the adapters get nearly every "
        "sentence right, and accuracy can no longer tell them apart; the margin in nats is the "
        f"finer measure, {interval(first['margin_nats'])} at r = {first['rank']} and "
        f"{interval(last['margin_nats'])} at r = {last['rank']}. For this task the smallest rank, "
        f"{thousands(first['trained_parameters'])} weights, is enough."
    )


def _room(best: Mapping[str, Any]) -> str:
    """A caution where the accuracies leave little room for a difference."""
    if best["accuracy"]["mean"] < NEAR_THE_TOP:
        return ""
    return (
        f" At {pct(best['accuracy']['mean'])}, the best rank's accuracy, there is little room left "
        "to show a difference; a harder task might."
    )


def _on_drift(sweep: Mapping[str, Any]) -> str:
    first, last = sweep["ranks"][0], sweep["ranks"][-1]
    if first is last:
        return f"What it breaks: the control perplexity changes by {_drift_at(first)}."
    gap = sweep["drift_largest_minus_smallest"]
    depends = excludes_zero(gap)
    verdict = "depends on the rank" if depends else "is not shown to depend on the rank"
    return (
        f"What it breaks {verdict}: the control perplexity changes by {_drift_at(first)} and by "
        f"{_drift_at(last)}, a difference of {interval(gap, 3, 100)} points."
    )


def _drift_at(row: Mapping[str, Any]) -> str:
    return f"{signed_pct(row['text_drift']['mean'], 2)} at r = {row['rank']}"


def scale_words(rows: Sequence[Mapping[str, Any]]) -> str:
    """What the scale audit says of the smallest and the largest rank."""
    first, last = rows[0], rows[-1]
    before, after = first["scale_audit"][-1], last["scale_audit"][-1]
    shown = [(first, before), (last, after)][: len(rows)]
    if len(rows) == 1:
        verdict = ""
    elif before["relative_norm"] == 0 or after["relative_norm"] == 0:
        verdict = " An update of no size at all has changed nothing."
    else:
        ratio = after["relative_norm"] / before["relative_norm"]
        if 0.8 <= ratio <= 1.25:
            verdict = (
                " Between the smallest and the largest rank the size hardly differs, so what sets "
                "them apart is not how far the model was moved."
            )
        else:
            course = "grows" if ratio > 1 else "falls"
            verdict = (
                f" From the smallest to the largest rank the size {course} by a factor of "
                f"{max(ratio, 1 / ratio):.1f}: the ranks differ in how far they move the model as "
                "well as in directions."
            )
    sizes = " and ".join(
        f"{pct(audit['relative_norm'], 2)} of the adapted weights' norm at r = {row['rank']}, in "
        f"{audit['effective_rank']:.1f} directions"
        for row, audit in shown
    )
    return f"The update is {sizes} (effective rank), on average over layers and seeds.{verdict}"


def generalization_words(groups: Sequence[Mapping[str, Any]], rank: int) -> str:
    """What the sentences with a new complement say against those with a trained one."""
    by_label = {row["label"]: row for row in groups}
    new, trained = by_label.get("new complement"), by_label.get("trained complement")
    if new is None:
        return (
            "No test sentence has a complement that never occurred in fine-tuning, so nothing is "
            "said about those."
        )
    there = new["ranks"][str(rank)]
    text = (
        "Where the complement never occurred in fine-tuning "
        f"({number_of(new['sentences'], 'sentence')}), the accuracy is "
        f"{interval_pct(there)}, {interval_pct(new['base'])} before"
    )
    if trained is None:
        return text + "; no test sentence has a trained one."
    seen = trained["ranks"][str(rank)]
    apart = there["high"] < seen["low"] or seen["high"] < there["low"]
    verdict = "the two differ" if apart else "the intervals overlap"
    return (
        f"{text}; where it did ({number_of(trained['sentences'], 'sentence')}), "
        f"{interval_pct(seen)}: {verdict}."
    )


def compare_with_expected(elbow: Mapping[str, Any], expected: int = 8) -> str:
    """How the outcome stands to the rank that folklore expects."""
    if elbow["outcome"] == "rising":
        if elbow["rank"] > expected:
            return (
                f"this sweep still rises up to r = {elbow['rank']}, so r = {expected} is too few."
            )
        return f"this sweep has no plateau up to r = {elbow['rank']}, so it cannot say."
    if elbow["outcome"] == "elbow":
        found = elbow["rank"]
        if found == expected:
            return f"the elbow is there, at r = {expected}."
        side = "below" if found < expected else "above"
        return f"this sweep puts it at r = {found}, {side} it."
    return "this sweep neither confirms nor contradicts it, since no rank stands out."


# --- numbers in words (z: what rounds to zero has no minus) -------------------------------------


def pct(value: float, digits: int = 1) -> str:
    """A share as a percentage: 0.981 -> 98.1 %"""
    return f"{100 * value:z.{digits}f} %"


def signed_pct(value: float, digits: int = 1) -> str:
    """A relative change: 0.012 -> +1.2 %"""
    return f"{100 * value:+z.{digits}f} %"


def signed_pp(value: float) -> str:
    """A difference of two shares in percentage points: 0.25 -> +25.0 pp"""
    return f"{100 * value:+z.1f} pp"


def signed(value: float, digits: int = 2) -> str:
    """A number with its sign: 1.4 -> +1.40"""
    return f"{value:+z.{digits}f}"


def fixed(value: float, digits: int) -> str:
    """A number to so many digits."""
    return f"{value:z.{digits}f}"


def number(value: float) -> str:
    """A number as short as four significant digits allow: 0.0083750 -> 0.008375"""
    return f"{value:z.4g}"


def thousands(value: int) -> str:
    """A whole number with its thousands apart: 61440 -> 61,440"""
    return f"{value:,}"


def cell(value: object) -> str:
    """Text that stays in its table cell: bars are escaped, line breaks become spaces."""
    return " ".join(str(value).split()).replace("|", "\\|")


def p_value(value: float) -> str:
    """= 0.031, or < 0.001"""
    return "< 0.001" if value < 0.001 else f"= {p_number(value)}"


def p_number(value: float) -> str:
    """0.031, or < 0.001"""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def interval(estimate: Mapping[str, float | None], digits: int = 2, scale: float = 1) -> str:
    """A mean and its interval: +1.48 [+1.40, +1.55]"""
    return _with_ends(estimate, scale, f"+z.{digits}f")


def interval_pct(estimate: Mapping[str, float | None], digits: int = 1) -> str:
    """A mean share and its interval, in percent: 98.1 % [96.2, 100.0]"""
    return _with_ends(estimate, 100, f"z.{digits}f", " %")


def _with_ends(
    estimate: Mapping[str, float | None], scale: float, form: str, unit: str = ""
) -> str:
    """A mean and its interval, or that it has none: +1.48 [no interval]"""
    mean, low, high = (
        None if value is None else format(scale * value, form)
        for value in (estimate["mean"], estimate["low"], estimate["high"])
    )
    return f"{mean}{unit} [no interval]" if low is None else f"{mean}{unit} [{low}, {high}]"


def excludes_zero(estimate: Mapping[str, float | None]) -> bool:
    """Whether an interval does; one without ends excludes nothing."""
    low, high = estimate["low"], estimate["high"]
    return low is not None and high is not None and not low <= 0 <= high


def interval_pp(estimate: Mapping[str, float | None]) -> str:
    """A mean difference of shares and its interval, in percentage points."""
    return interval(estimate, digits=1, scale=100)


def flow_yaml(value: Mapping[str, Any]) -> str:
    """A mapping on one line of YAML."""
    return "{" + ", ".join(f"{key}: {json.dumps(item)}" for key, item in value.items()) + "}"


FILTERS = {
    function.__name__: function
    for function in (
        pct,
        signed_pct,
        signed_pp,
        signed,
        fixed,
        number,
        thousands,
        number_of,
        cell,
        p_value,
        p_number,
        interval,
        interval_pct,
        interval_pp,
        flow_yaml,
    )
}


RESULTS_FILES = ("pairs", "sweep", "base_metrics", "metrics", "gates", "manifest", "training")


def report_inputs(files: Any, data: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    """The ``results`` of :func:`render_report`, read from the inputs of its rule.

    Args:
        files: The inputs by name: RESULTS_FILES, ``verbs`` and ``pretraining`` (empty if the base
            is not the study's own).
        data: The config's ``data``, with the names of its verbs.
    """
    lemmas = [*data["irregular_verbs"], *data["regular_verbs"]]
    return {
        **{name: read_json(files[name]) for name in RESULTS_FILES},
        "pretraining": read_json(files["pretraining"]) if files["pretraining"] else None,
        "ambiguous": ambiguous_forms(load_verbs(files["verbs"]), lemmas),
    }
