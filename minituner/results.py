"""Types of the results that travel between stages as JSON, in the order the study makes them.

Keys are those of the files. A ``float | None`` end of an interval means that the data do not
determine its width; a ``rank`` or ``scaling`` of ``None`` means that all weights were trained.
"""

# Over 300 lines: every file's keys, one per line, in one place, and a single function.
# No `from __future__ import annotations`: with it, NotRequired keys would count as required at
# run time, where `read_results` looks at them.

from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, TypeVar, cast

from minituner.errors import UserError
from minituner.storage.files import read_json

# --- tokenize: data/tokenized/summary.json ------------------------------------------------------


class SplitCounts(TypedDict):
    """Sizes of one split of the pairs."""

    pairs: int
    by_group: dict[str, int]
    by_form: dict[str, int]
    complements: list[str]
    target_tokens: int
    tokens: int


class FrameCounts(TypedDict):
    """Frame types and prompt lengths of a set of pairs."""

    pairs: int
    frames: dict[str, int]
    prompt_words: dict[str, int]  # length in words ("06") -> pairs
    mean_prompt_words: float


class UnseenWords(TypedDict):
    """Words of one split that the base has not read."""

    words: int
    unseen: int
    most: list[str]  # the most frequent of them


class Distributions(TypedDict):
    """The task's pairs compared with control pairs, and how new the words are to the base."""

    task: FrameCounts
    control: FrameCounts
    frame_distance: float  # total variation distance
    length_difference_words: float
    unseen_words: dict[str, UnseenWords] | None  # by split; None if the base's corpus is unknown


class PairsSummary(TypedDict):
    """summary.json of ``tokenize``."""

    splits: dict[str, SplitCounts]
    too_long: NotRequired[dict[str, int]]  # split -> pairs skipped; absent if there are none
    distributions: NotRequired[Distributions]  # absent if the pairs were not compared


# --- pretrain_base: pretraining.json ------------------------------------------------------------


class CorpusCounts(TypedDict):
    """Sizes of a base corpus."""

    sentences: int
    fill_in: int
    irregular_past_forms: int
    over_regularized: int
    over_regularized_share: float


class ModelShape(TypedDict):
    """The fields of ``MiniGPTConfig``."""

    vocab_size: int
    context_length: int
    d_model: int
    n_layers: int
    n_heads: int


class PretrainingSummary(TypedDict):
    """pretraining.json: the corpus, the model and the step that was kept."""

    corpus: CorpusCounts
    tokens: int
    vocabulary: int
    parameters: int
    shape: ModelShape
    steps: int
    best_step: int
    best_val_loss: float  # nats per token


# --- train: training.json -----------------------------------------------------------------------


class TrainingSummary(TypedDict):
    """training.json of full fine-tuning."""

    trainable_parameters: int
    base_parameters: int
    trainable_ratio: float
    steps: int  # per seed


class AdapterTrainingSummary(TrainingSummary):
    """training.json of one rank."""

    rank: int
    adapted_layers: list[str]
    trainable_parameters_closed_form: int


# --- evaluate: metrics.json and items.csv -------------------------------------------------------


class AccuracySummary(TypedDict):
    """Accuracy on minimal pairs, as a share, and the mean margins in nats."""

    n: int
    accuracy: float
    accuracy_per_token: float
    margin_nats: float
    margin_nats_per_token: float


class Perplexities(TypedDict):
    """Perplexity over the whole text and over the answer's tokens only."""

    text: float
    target: float


class Drift(TypedDict):
    """Relative change of each perplexity from the base's: above 0 is forgetting."""

    text: float
    target: float


class SplitMetrics(AccuracySummary):
    """One model's metrics on one split."""

    by_group_and_form: dict[str, AccuracySummary]  # under "group/form"
    perplexity: Perplexities
    drift: NotRequired[Drift]  # tuned models, test
    greedy_accuracy: NotRequired[float]  # test only


class ControlMetrics(TypedDict):
    """One model's metrics on a control set. Accuracies and margins are there if some of its items
    are minimal pairs, and are of these."""

    n: int  # items
    perplexity: Perplexities
    drift: NotRequired[Drift]  # tuned models
    # Only if the model hardly knows the set: the bound that the perplexity of the text exceeds.
    unknown_above: NotRequired[float]
    accuracy: NotRequired[float]
    accuracy_per_token: NotRequired[float]
    margin_nats: NotRequired[float]
    margin_nats_per_token: NotRequired[float]
    by_group_and_form: NotRequired[dict[str, AccuracySummary]]


class ProbeResult(TypedDict):
    """One probe sentence of a regular verb."""

    prompt: str
    expected: str
    over_irregular: str
    answer: str
    margin_nats: float
    failed: bool


class Prediction(TypedDict):
    """The greedy answer to one test prompt."""

    group: str
    prompt: str
    expected: str
    answer: str


class ModelMetrics(TypedDict):
    """All metrics of one model; the base's metrics.json."""

    val: SplitMetrics
    test: SplitMetrics
    control: ControlMetrics  # on the first control set
    controls: NotRequired[dict[str, ControlMetrics]]  # on further ones, by name
    probe: list[ProbeResult]  # empty for a task without a probe
    predictions: list[Prediction]


class BaseHashes(TypedDict):
    """sha256 of the base's weights: of the checkpoint, and inside the tuned model."""

    before: str
    after: str


class LayerAudit(TypedDict):
    """Size and effective rank of one adapted layer's update."""

    layer: str
    scaling: float
    relative_norm: float  # |delta W| / |W|, Frobenius
    effective_rank: float
    largest_b: float  # max |B|
    singular_values: list[float]  # of delta W, largest first


class RunMetrics(ModelMetrics):
    """One seed's tuned model."""

    seed: int
    base_max_abs_diff: float
    base_sha256: BaseHashes
    scale_audit: list[LayerAudit]  # empty without adapters


class TunedMetrics(TypedDict):
    """metrics.json of one setting: a rank, or full fine-tuning, with all its seeds."""

    rank: int | None
    scaling: float | None
    trained_parameters: int
    file_bytes: int  # what is stored per seed
    size_ratio: float  # file_bytes / the base's
    runs: list[RunMetrics]


class OptionalColumns(TypedDict, total=False):
    """The columns of items.csv that some rows lack."""

    seed: int  # the base has none
    # A text of a control set has no wrong form; its cells are empty.
    wrong_form: str  # the likeliest, of several
    margin_nats: str
    margin_nats_per_token: str
    correct: int  # 0 or 1


class ItemRow(OptionalColumns):
    """One row of items.csv as it is written: numbers in nats have six decimals."""

    split: str
    id: str
    prompt: str
    group: str
    form: str
    complement: str
    correct_form: str
    text_nll_nats: str
    text_tokens: int
    target_nll_nats: str
    target_tokens: int


# --- headline: metrics.json and gates.json ------------------------------------------------------


class HeadlineMetrics(TypedDict):
    """metrics.json of the headline run: one seed's model next to the base."""

    rank: int | None
    seed: int
    scaling: float | None
    trained_parameters: int
    size_ratio: float
    base_max_abs_diff: float
    base_sha256: BaseHashes
    before: ModelMetrics
    after: RunMetrics


# Why a gate on a drift means little, whether it passes or not.
# unknown:  the base hardly knows the control set; see ControlMetrics.unknown_above
# improved: the tuned model predicts the set much better than the base, so that what it has learned
#           of the set hides what it has forgotten
Doubt = Literal["unknown", "improved"]

# "pass" is a keyword, so this one cannot be a class.
Gate = TypedDict(
    "Gate",
    {"value": float, "rule": str, "threshold": float, "pass": bool, "doubt": NotRequired[Doubt]},
)

Gates = dict[str, Gate]  # gates.json, by the gate's name


# --- summary.json of the sweep ------------------------------------------------------------------


class Interval(TypedDict):
    """A mean with its confidence interval."""

    mean: float
    low: float | None
    high: float | None


class McNemar(TypedDict):
    """McNemar's exact test: items gained and lost, and the two-sided p-value."""

    gained: int
    lost: int
    p: float


class LayerAuditMean(TypedDict):
    """:class:`LayerAudit` averaged over seeds; the last row, "all", over the layers too."""

    layer: str
    relative_norm: float
    effective_rank: float
    largest_b: float


class ComparisonRow(TypedDict):
    """One tuned setting compared with the base, over all its seeds."""

    rank: int | None
    scaling: float | None
    trained_parameters: int
    file_bytes: int
    size_ratio: float
    accuracy: Interval
    gain: Interval
    margin_nats: Interval
    text_drift: Interval
    target_drift: Interval
    base_accuracy: float
    accuracy_by_seed: list[float]
    text_drift_by_seed: list[float]
    target_drift_by_seed: list[float]
    # On further control sets, by name, over the whole text.
    control_drifts: NotRequired[dict[str, Interval]]
    control_drifts_by_seed: NotRequired[dict[str, list[float]]]
    mcnemar_headline_seed: McNemar
    scale_audit: list[LayerAuditMean]  # empty without adapters


class ElbowSummary(TypedDict):
    """The sweep's outcome; :class:`minituner.statistics.elbow.Elbow` says what each field means."""

    outcome: str
    rank: int | None
    best_rank: int
    largest_minus_smallest: Interval
    best_minus: dict[str, Interval]  # by rank
    adjusted_p: dict[str, float]  # by rank
    kneedle: int | None


class LabelAccuracy(TypedDict):
    """Test accuracy on the items of one label."""

    label: str
    sentences: int
    base: Interval
    ranks: dict[str, Interval]  # by rank


class Generalization(TypedDict):
    """Test accuracy on sentences with a new complement less that on those with a trained one."""

    difference: dict[str, Interval]  # by rank


class SweepSummary(TypedDict):
    """summary.json of the rank sweep."""

    test_items: int
    seeds: list[int]
    confidence: float
    base_accuracy: Interval
    ranks: list[ComparisonRow]
    drift_largest_minus_smallest: Interval
    elbow: ElbowSummary
    by_label: list[LabelAccuracy]
    by_group_and_form: list[LabelAccuracy]
    generalization: Generalization | None  # None unless there are sentences of both kinds


# --- summary.json of an ablation arm ------------------------------------------------------------


class ArmRun(TypedDict):
    """One run of an arm, as the rules describe it."""

    run: str
    rank: int | None
    folder: str
    changes: dict[str, Any]  # dotted config keys and their values


class VersusStudy(Interval):
    """A run's accuracy less the study's, with p-values, and the same for the drift."""

    p: float
    adjusted_p: float  # Holm, over the arm
    text_drift: Interval | None  # None over another base


class ArmRow(ArmRun, ComparisonRow):
    """One run of an arm compared with its base and with the study."""

    is_study: bool
    val_accuracy: float
    val_perplexity: float
    probe_failures: float  # mean over seeds
    base_max_abs_diff: float
    versus_study: VersusStudy | None


class RunName(TypedDict):
    """A run of an arm by its name and rank."""

    run: str
    rank: int | None


class RankEffect(Interval):
    """Accuracy at the largest rank less that at the smallest, under one setting."""

    versus_study: Interval | None


class HeldOutSummary(TypedDict):
    """All left-out verbs together, each from the run that was not trained on it."""

    sentences: int
    base: Interval
    left_out: Interval
    gain: Interval
    study: Interval | None


class ArmSummary(TypedDict):
    """summary.json of one ablation arm."""

    rows: list[ArmRow]
    seeds: list[int]
    confidence: float
    chosen: RunName | None
    size_limit: float
    front: list[RunName]  # the Pareto front of gain and drift
    gaps: dict[str, RankEffect]  # by the run's name
    held_out: HeldOutSummary | None


# --- reading ------------------------------------------------------------------------------------

Result = TypeVar("Result")


def read_results(path: str | Path, kind: type[Result]) -> Result:
    """Read a results file as one of the types above; only its top-level keys are checked.

    Raises:
        UserError: It cannot be read, or is not a JSON object with the keys of ``kind``.
    """
    value = read_json(path)
    required: frozenset[str] = getattr(kind, "__required_keys__", frozenset())
    if not isinstance(value, dict) or required - value.keys():
        missing = sorted(required - set(value)) if isinstance(value, dict) else []
        raise UserError(
            path,
            f"is not a results file of the kind {getattr(kind, '__name__', 'expected')}",
            found=f"no {', '.join(missing)}" if missing else f"a {type(value).__name__}",
            expected=f"a JSON object with {', '.join(sorted(required)) or 'results'}",
            fix="delete it and run the pipeline, which makes it again",
        )
    return cast(Result, value)
