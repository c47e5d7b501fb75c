"""Every reported metric, described once: records, cards, reports and tables read this."""

from __future__ import annotations

from dataclasses import dataclass


# The three models of an unlearning run, as records, files and tables name them.
MODELS = ("original", "unlearned", "retrained")


@dataclass(frozen=True)
class Metric:
    """
    The description of a metric.

    Args:
        name (`str`): Key in records and result files.
        title (`str`): Heading of a table column.
        meaning (`str`): Explanation in one line, for readers of a report.
        split (`str`): The examples it is measured on: `"forget"`, `"retain"`, `"test"`, or `"generated"` images.
        unit (`str`): `"%"` for percent, `""` for a number without a unit.
        digits (`int`): Decimal places in tables.
        goal (`str`): `"higher"`, `"lower"`, or `"retrained"` if the value of the retrained model is the goal.
        hub_type (`str`): Metric type in the metadata of a model card.
        legend (`str`, defaults to `""`): Sentence under the table of a card; empty if another one covers it.
        tables (`tuple[str, ...]`, defaults to `()`): The tables that have a column for it: `"results"` of a run,
            `"report"`, `"comparison"`. A card has a column for every metric that was measured.
        recomputed (`bool`, defaults to `False`): Whether `verify` recomputes it: it is in the result of
            [`~hf_invwnn.metrics.unlearning_metrics`].
    """

    name: str
    title: str
    meaning: str
    split: str
    unit: str
    digits: int
    goal: str
    hub_type: str
    legend: str = ""
    tables: tuple[str, ...] = ()
    recomputed: bool = False

    def format(self, value: float | None, sign: str = "") -> str:
        """The value with the digits of the metric; an empty string for `None`."""
        return "" if value is None else f"{value:{sign}.{self.digits}f}"


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            name="RA",
            title="RA",
            meaning="accuracy on the retained training examples",
            split="retain",
            unit="%",
            digits=2,
            goal="higher",
            hub_type="accuracy",
            legend="RA, TA: accuracy on retained and test examples.",
            tables=("results", "report", "comparison"),
            recomputed=True,
        ),
        Metric(
            name="UA",
            title="UA",
            meaning="share of the forget set no longer predicted as labelled (100 - accuracy)",
            split="forget",
            unit="%",
            digits=2,
            goal="retrained",
            hub_type="unlearning_accuracy",
            legend="UA: 100 - accuracy on the forget set.",
            tables=("results", "report", "comparison"),
            recomputed=True,
        ),
        Metric(
            name="TA",
            title="TA",
            meaning="accuracy on examples the model never saw",
            split="test",
            unit="%",
            digits=2,
            goal="higher",
            hub_type="accuracy",
            tables=("results", "report", "comparison"),
            recomputed=True,
        ),
        Metric(
            name="MIA",
            title="MIA",
            meaning="share of the forget set that a membership attack takes for data the model never saw",
            split="forget",
            unit="%",
            digits=2,
            goal="retrained",
            hub_type="mia",
            legend="MIA: share of the forget set that a membership attack takes for data the model never saw.",
            tables=("results", "report", "comparison"),
            recomputed=True,
        ),
        Metric(
            name="loss_auc",
            title="loss AUC",
            meaning="probability that a forgotten example has a higher loss than a test example",
            split="forget",
            unit="",
            digits=3,
            goal="retrained",
            hub_type="loss_auc",
            legend="Loss AUC: probability that a forgotten example has a higher loss than a test example.",
            # A report has it in the table of the membership audit.
            tables=("comparison",),
            recomputed=True,
        ),
        Metric(
            name="forget_clean",
            title="D_f, true labels",
            meaning="accuracy on the forget set under its true labels",
            split="forget",
            unit="%",
            digits=2,
            goal="higher",
            hub_type="accuracy",
            tables=("comparison",),
        ),
        Metric(
            name="attack_success",
            title="attack success",
            meaning="share of test images with the trigger that are classified as the attacker's target",
            split="test",
            unit="%",
            digits=2,
            goal="lower",
            hub_type="accuracy",
            tables=("comparison",),
        ),
        Metric(
            name="forget_ratio",
            title="forget ratio",
            meaning="share of generated images that a classifier assigns to the forgotten class",
            split="generated",
            unit="%",
            digits=2,
            goal="lower",
            hub_type="forget_ratio",
            legend="Forget ratio: share of generated images, in percent, that a classifier assigns to the "
            "forgotten class.",
            tables=("report",),
        ),
        Metric(
            name="kid",
            title="KID",
            meaning="kernel inception distance between generated images and real images of the other classes",
            split="generated",
            unit="",
            digits=3,
            goal="lower",
            hub_type="kid",
            legend="KID: kernel inception distance between generated images and real images of the other "
            "classes; lower is better.",
            tables=("report",),
        ),
        Metric(
            name="forget_loss",
            title="forget loss",
            meaning="mean loss on the forget set",
            split="forget",
            unit="",
            digits=2,
            goal="retrained",
            hub_type="loss",
            legend="Losses are means over labels, in nats.",
            tables=("report",),
        ),
        Metric(
            name="unseen_loss",
            title="unseen loss",
            meaning="mean loss on examples the model never saw",
            split="test",
            unit="",
            digits=2,
            goal="lower",
            hub_type="loss",
            tables=("report",),
        ),
        Metric(
            name="forget_perplexity",
            title="forget perplexity",
            meaning="exponential of the mean loss on the forget set",
            split="forget",
            unit="",
            digits=1,
            goal="retrained",
            hub_type="perplexity",
            legend="A perplexity is the exponential of a loss.",
            tables=("report",),
        ),
        Metric(
            name="unseen_perplexity",
            title="unseen perplexity",
            meaning="exponential of the mean loss on texts the model never saw",
            split="test",
            unit="",
            digits=1,
            goal="lower",
            hub_type="perplexity",
            tables=("report",),
        ),
    )
}


def metrics_in(table: str) -> tuple[str, ...]:
    """Names of the metrics that have a column in a table: `"results"`, `"report"` or `"comparison"`."""
    return tuple(metric.name for metric in METRICS.values() if table in metric.tables)


__all__ = ["METRICS", "MODELS", "Metric", "metrics_in"]
