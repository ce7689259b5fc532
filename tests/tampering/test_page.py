"""docs/attacks.md says what these tests do, and what none can."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from common.audit.claim import CLAIM
from common.audit.codes import CODES

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "attacks.md"

HONEST = {
    "test_the_true_run_is_verified",
    "test_a_report_of_a_run_that_went_on_is_no_contradiction",
    "test_an_audit_that_writes_elsewhere_leaves_the_run_as_it_is",
}
"""Tests in which nobody attacks."""

ATTACKING = (
    "e2e/test_hostile_client.py",
    "e2e/test_hostile_server.py",
    "e2e/test_turned_away.py",
)
"""Files whose every test is an attack on a running deployment, but for the honest ones."""

HONEST_WHILE_RUNNING = {
    "e2e/test_hostile_server.py::test_what_is_permitted_is_computed_and_charged_once",
}


def _rows() -> list[tuple[str, set[str], str]]:
    rows = re.findall(r"(?m)^\| (.+) \| (`.+) \| `(test_.+)` \|$", PAGE.read_text(encoding="utf-8"))
    return [(attack, set(re.findall("`([a-z-]+)`", codes)), test) for attack, codes, test in rows]


def _tests() -> set[str]:
    found = set()
    for file in HERE.glob("test_*.py"):
        if file != Path(__file__):
            tree = ast.parse(file.read_text(encoding="utf-8"))
            found |= {(file.name, n.name) for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    return {f"{file}::{name}" for file, name in found if name.startswith("test_") and name not in HONEST}


def test_each_attack_has_its_test_and_each_test_its_line() -> None:
    rows = _rows()
    assert {test for _, _, test in rows} == _tests()
    assert len({attack for attack, _, _ in rows}) == len(rows) == len(_tests())


def test_each_attack_is_found_as_something_that_is_registered() -> None:
    for attack, codes, _ in _rows():
        assert codes, attack
        assert codes <= set(CODES), attack


def test_each_code_is_one_that_its_test_expects() -> None:
    for attack, codes, test in _rows():
        file, _, name = test.partition("::")
        source = (HERE / file).read_text(encoding="utf-8")
        tree = ast.parse(source)
        body = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == name)
        text = ast.get_source_segment(source, body) or ""
        if "LEDGER_FLAWS" not in text and "codes" not in {argument.arg for argument in body.args.args}:
            expected = text if "_refused_or_found" not in text else source
            assert all(f'"{code}"' in expected for code in codes), attack


def test_what_no_audit_can_see_is_what_each_report_says() -> None:
    listed = PAGE.read_text(encoding="utf-8").partition("## What no audit can see")[2]
    items = [" ".join(item.split()) for item in listed.split("\n- ")[1:]]
    assert items == [*CLAIM.undetectable]


def _attacks_on_a_deployment() -> list[tuple[str, str, str]]:
    part = PAGE.read_text(encoding="utf-8").partition("## On a running deployment")[2]
    part = part.partition("\n## ")[0]
    return re.findall(r"(?m)^\| (.+) \| (.+) \| `((?:e2e|unit)/.+\.py::test_.+)` \|$", part)


def _tests_of(file: str) -> set[str]:
    tree = ast.parse((HERE.parent / file).read_text(encoding="utf-8"))
    names = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    return {f"{file}::{name}" for name in names if name.startswith("test_")}


def test_each_attack_on_a_deployment_has_a_defence_and_a_test_that_exists() -> None:
    rows = _attacks_on_a_deployment()
    lines = PAGE.read_text(encoding="utf-8").partition("## On a running deployment")[2].splitlines()
    assert len(rows) == sum(line.startswith("| ") and not line.startswith("| attack |") for line in lines)
    assert len({attack for attack, _, _ in rows}) == len({test for _, _, test in rows}) == len(rows)
    for attack, defence, test in rows:
        assert defence.strip(), attack
        assert test in _tests_of(test.partition("::")[0]), test


def test_each_attack_that_is_tried_on_a_deployment_has_its_line() -> None:
    listed = {test for _, _, test in _attacks_on_a_deployment()}
    tried = {test for file in ATTACKING for test in _tests_of(file)} - HONEST_WHILE_RUNNING
    assert tried <= listed, tried - listed
    assert not listed & HONEST_WHILE_RUNNING
