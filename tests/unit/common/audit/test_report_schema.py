"""report.json has the form that its schema promises, field by field."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from common.audit import AuditReport, audit, inspect_run
from common.audit.auditor import inspect
from common.audit.report import SCHEMA
from common.audit.report_files import SCHEMA_FILE
from tests.run_folders import RunPlan, charge_and_release, write_run

_SCHEMA: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
_VALIDATOR = Draft202012Validator(_SCHEMA)


def _flaws(report: Mapping[str, Any]) -> list[str]:
    return [f"{list(error.path)}: {error.message:.200}" for error in _VALIDATOR.iter_errors(report)]


def _objects(schema: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema of an object, with its place."""
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield place, schema
        for name, inner in schema.items():
            yield from _objects(inner, f"{place}/{name}")
    elif isinstance(schema, list):
        for index, inner in enumerate(schema):
            yield from _objects(inner, f"{place}/{index}")


@pytest.fixture
def report(tmp_path: Path) -> AuditReport:
    return inspect_run(write_run(tmp_path, RunPlan()).root)


def test_the_schema_is_one_and_names_the_form_of_reports() -> None:
    Draft202012Validator.check_schema(_SCHEMA)
    assert _SCHEMA["properties"]["schema"]["const"] == SCHEMA


@pytest.mark.parametrize(
    "plan",
    [
        RunPlan(),
        RunPlan(rounds=0),
        RunPlan(settings={"privacy.enabled": False}),
        RunPlan(genesis={"filter_order": 8.0}),
        RunPlan(logged=False),
        RunPlan(clients=40, rounds=1),
    ],
    ids=["private", "no rounds", "not private", "filter", "no log", "many clients"],
)
def test_reports_fit_the_schema(tmp_path: Path, plan: RunPlan) -> None:
    folder = write_run(tmp_path, plan)
    charge_and_release(folder, 0, 1, RunPlan(noise_multiplier=3.0, logged=False), run="another")
    audit(folder.root)
    assert _flaws(json.loads((folder.root / "report.json").read_text(encoding="utf-8"))) == []


def test_reports_of_damaged_folders_fit_the_schema(tmp_path: Path) -> None:
    folder = write_run(tmp_path, RunPlan())
    for file in (folder.evaluation, folder.partitions, folder.model):
        file.unlink()
    folder.ledger(0).write_text("{}\n", encoding="utf-8")
    assert _flaws(inspect_run(folder.root).to_json()) == []
    folder.ledger(1).write_text("{}\n", encoding="utf-8")
    assert _flaws(inspect_run(folder.root).to_json()) == []


@pytest.mark.parametrize("part", ["ledgers", "ledgers/client-0.jsonl", "server"])
def test_reports_of_ledgers_and_logs_fit_the_schema(tmp_path: Path, part: str) -> None:
    folder = write_run(tmp_path, RunPlan())
    assert _flaws(inspect(folder.root / part).to_json()) == []


def test_a_field_that_the_schema_lacks_is_a_flaw_wherever_it_is(report: AuditReport) -> None:
    for change in (
        lambda content: content.update(more=1),
        lambda content: content["clients"][0].update(more=1),
        lambda content: content["breakdown"]["runs"][0].update(more=1),
        lambda content: content["meaning"]["curve"][0].update(more=1),
        lambda content: content["evaluation"]["per_class"][0].update(more=1),
    ):
        content = report.to_json()
        change(content)
        assert len(_flaws(content)) == 1


def test_every_field_that_the_schema_promises_is_there(report: AuditReport) -> None:
    content = report.to_json()
    for name in list(content):
        assert _flaws({key: value for key, value in content.items() if key != name}) != []


def test_every_field_of_the_data_is_in_the_schema(report: AuditReport) -> None:
    written = {field.name for field in dataclasses.fields(AuditReport)}
    assert written <= set(_SCHEMA["properties"])


def test_every_object_is_closed_and_every_field_explained() -> None:
    objects = list(_objects(_SCHEMA))
    assert len(objects) > 15
    for place, schema in objects:
        fields = schema.get("properties", {})
        assert schema["additionalProperties"] is False or not fields, place
        assert set(schema.get("required", [])) == set(fields), place
        assert "description" in schema, place
        for name, field in fields.items():
            assert "description" in field or "$ref" in field, f"{place}/{name}"
