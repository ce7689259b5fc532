"""Tables of the page that are charts too: each cell carries its number and, as a shade, its share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.audit.evaluation import ClassResult, Evaluation, Partitions
from common.audit.fairness import ClientUtility, Fairness
from common.config import RunConfig
from common.words import counted

MOST_CLIENTS = 24
MOST_CLASSES = 20
MOST_CONFUSIONS = 15


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A count, and the share in [0, 1] that shades it."""

    count: int
    share: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """A named row of shaded cells with its total."""

    name: str
    cells: tuple[Cell, ...]
    total: int


@dataclass(frozen=True, kw_only=True)
class ShadedTable:
    """A heat map; `remark` says what was left out, empty when nothing was."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    remark: str


@dataclass(frozen=True, kw_only=True)
class ClassTable:
    """Results per class, hardest first where only some are shown."""

    rows: tuple[ClassResult, ...]
    remark: str


@dataclass(frozen=True, kw_only=True)
class UtilityTable:
    """What clients can expect of the model, by number; of many only those that can expect least."""

    rows: tuple[ClientUtility, ...]
    remark: str


@dataclass(frozen=True, kw_only=True)
class Confusion:
    """Images of class `actual` that the model takes for `predicted`, as count and share of the class."""

    actual: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True, kw_only=True)
class ConfusionTable:
    """The confusion matrix, or for many classes its most frequent mistakes instead."""

    matrix: ShadedTable | None
    mistakes: tuple[Confusion, ...]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting with its meaning."""

    key: str
    value: str
    meaning: str


def label_table(partitions: Partitions) -> ShadedTable:
    """Count labels per client, shaded by their share of the client's images; samples large federations."""
    clients = _sample(len(partitions.counts), MOST_CLIENTS)
    width = min(len(partitions.classes), MOST_CLASSES)
    rows = tuple(_row(f"{client}", partitions.counts[client], width) for client in clients)
    remarks = []
    if len(clients) < len(partitions.counts):
        remarks.append(f"{len(clients)} of {counted(len(partitions.counts), 'client')}, evenly spaced")
    if width < len(partitions.classes):
        remarks.append(f"the first {width} of {len(partitions.classes)} classes")
    return ShadedTable(columns=partitions.classes[:width], rows=rows, remark="; ".join(remarks))


def class_table(evaluation: Evaluation) -> ClassTable:
    """List results per class; of many classes only the hardest."""
    results = evaluation.per_class
    if len(results) <= MOST_CLASSES:
        return ClassTable(rows=results, remark="")
    hardest = sorted(results, key=lambda result: result.f1)[:MOST_CLASSES]
    return ClassTable(
        rows=tuple(hardest),
        remark=f"the {MOST_CLASSES} hardest of {len(results)} classes; report.json has all",
    )


def utility_table(fairness: Fairness) -> UtilityTable:
    """List what clients can expect; of a large federation only those that can expect least."""
    clients = fairness.clients
    if len(clients) <= MOST_CLIENTS:
        return UtilityTable(rows=clients, remark="")
    least = sorted(clients, key=lambda client: (client.accuracy, client.partition_id))[:MOST_CLIENTS]
    return UtilityTable(
        rows=tuple(least),
        remark=f"the {MOST_CLIENTS} of {counted(len(clients), 'client')} that can expect least; "
        "report.json has all",
    )


def confusion_table(evaluation: Evaluation) -> ConfusionTable:
    """Shade the confusion matrix by share of the actual class."""
    names = evaluation.classes
    if len(names) <= MOST_CLASSES:
        rows = tuple(
            _row(name, counts, len(names)) for name, counts in zip(names, evaluation.confusion, strict=False)
        )
        return ConfusionTable(matrix=ShadedTable(columns=names, rows=rows, remark=""), mistakes=())
    mistakes = [
        Confusion(actual=actual, predicted=predicted, count=number, share=number / sum(counts))
        for actual, counts in zip(names, evaluation.confusion, strict=False)
        for predicted, number in zip(names, counts, strict=False)
        if actual != predicted and number
    ]
    worst = sorted(mistakes, key=lambda mistake: -mistake.count)[:MOST_CONFUSIONS]
    return ConfusionTable(matrix=None, mistakes=tuple(worst))


def setting_tables(settings: dict[str, bool | int | float | str]) -> dict[str, tuple[Setting, ...]]:
    """Sort settings into their sections and explain each."""
    tables: dict[str, tuple[Setting, ...]] = {}
    for name, value in settings.items():
        section, _, key = name.partition(".")
        setting = Setting(key=key, value=_value_text(value), meaning=_meaning(section, key))
        tables[section] = (*tables.get(section, ()), setting)
    return tables


def _row(name: str, counts: Sequence[int], width: int) -> Row:
    total = sum(counts)
    cells = tuple(Cell(count=number, share=round(number / max(total, 1), 4)) for number in counts[:width])
    return Row(name=name, cells=cells, total=total)


def _sample(number: int, most: int) -> list[int]:
    if number <= most:
        return list(range(number))
    return sorted({round(index * (number - 1) / (most - 1)) for index in range(most)})


def _value_text(value: bool | int | float | str) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) if value != "" else "(empty)"


def _meaning(section: str, key: str) -> str:
    holder = RunConfig.model_fields.get(section)
    fields = getattr(holder.annotation, "model_fields", {}) if holder else {}
    info = fields.get(key.replace("-", "_"))
    return info.description or "" if info else ""
