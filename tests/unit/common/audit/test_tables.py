"""Tables of the page."""

from __future__ import annotations

from common.audit.evaluation import Evaluation, Partitions
from common.audit.tables import class_table, confusion_table, label_table, setting_tables
from common.config import RunConfig


def _partitions(clients: int, classes: int) -> Partitions:
    names = tuple(f"class {index}" for index in range(classes))
    return Partitions(dataset="d", classes=names, counts=((3, 1, *[0] * (classes - 2)),) * clients)


def _evaluation(classes: int) -> Evaluation:
    names = [f"class {index}" for index in range(classes)]
    confusion = [
        [5 if row == column else (row == 1 and column == 0) * 2 for column in range(classes)]
        for row in range(classes)
    ]
    per_class = [
        {"class": name, "precision": 0.5, "recall": 0.5, "f1": 1 - index / 100, "support": 9}
        for index, name in enumerate(names)
    ]
    return Evaluation.model_validate(
        {
            "round": 1,
            "num_examples": 9,
            "accuracy": 0.5,
            "balanced_accuracy": 0.5,
            "precision": 0.5,
            "recall": 0.5,
            "f1": 0.5,
            "classes": names,
            "per_class": per_class,
            "confusion": confusion,
        }
    )


def test_labels_are_shaded_by_their_share_of_the_client() -> None:
    table = label_table(_partitions(2, 3))
    assert [row.name for row in table.rows] == ["0", "1"]
    assert [(cell.count, cell.share) for cell in table.rows[0].cells] == [(3, 0.75), (1, 0.25), (0, 0.0)]
    assert (table.rows[0].total, table.remark) == (4, "")


def test_a_large_federation_is_sampled_from_first_to_last_and_says_so() -> None:
    table = label_table(_partitions(1000, 100))
    names = [int(row.name) for row in table.rows]
    assert (names[0], names[-1], len(names), len(set(names))) == (0, 999, 24, 24)
    assert table.remark == "24 of 1,000 clients, evenly spaced; the first 20 of 100 classes"
    assert table.rows[0].total == 4


def test_a_client_without_images_has_no_shade() -> None:
    empty = Partitions(dataset="d", classes=("a", "b"), counts=((0, 0),))
    assert [cell.share for cell in label_table(empty).rows[0].cells] == [0.0, 0.0]


def test_few_classes_are_all_listed_in_their_order() -> None:
    table = class_table(_evaluation(3))
    assert [result.name for result in table.rows] == ["class 0", "class 1", "class 2"]
    assert table.remark == ""


def test_of_many_classes_the_hardest_are_listed() -> None:
    table = class_table(_evaluation(30))
    assert [result.name for result in table.rows][:2] == ["class 29", "class 28"]
    assert len(table.rows) == 20
    assert "20 hardest of 30" in table.remark


def test_the_confusion_matrix_is_shaded_by_row() -> None:
    table = confusion_table(_evaluation(2))
    assert table.matrix is not None
    assert [cell.share for cell in table.matrix.rows[1].cells] == [0.2857, 0.7143]


def test_of_many_classes_the_mistakes_are_listed() -> None:
    table = confusion_table(_evaluation(30))
    assert table.matrix is None
    (mistake,) = table.mistakes
    assert (mistake.actual, mistake.predicted, mistake.count) == ("class 1", "class 0", 2)
    assert mistake.share == 2 / 7


def test_settings_are_sorted_into_sections_and_explained() -> None:
    tables = setting_tables(RunConfig().flat() | {"future.key": True})
    assert list(tables)[:2] == ["federation", "data"]
    epsilon = next(setting for setting in tables["privacy"] if setting.key == "epsilon")
    assert (epsilon.value, epsilon.meaning) == ("8.0", "Lifetime budget of each client's data set.")
    enabled = next(setting for setting in tables["privacy"] if setting.key == "enabled")
    assert enabled.value == "yes"
    assert tables["future"][0].meaning == ""
