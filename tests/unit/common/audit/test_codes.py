"""Every code that an audit can raise is registered, is raised by some spoiled run, and is in the docs."""

from __future__ import annotations

import ast
import os
import re
import shutil
from pathlib import Path

import pytest

import common.audit
from common.audit import Finding, inspect_run
from common.audit.codes import CODES, LEDGER_FLAWS
from common.audit.history import client_ledgers
from common.audit.records import read_run
from common.audit.spending import Spent
from common.audit.verify_ledger import check_spending
from common.run_folder import RunFolder
from tests.run_folders import write_run
from tests.spoiled_runs import PLAN, SCENARIOS

TABLE = Path(__file__).parents[4] / "docs" / "findings.md"


def _found(folder: RunFolder) -> list[Finding]:
    return list(inspect_run(folder.root).findings)


@pytest.fixture(scope="module")
def faithful(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return write_run(tmp_path_factory.mktemp("faithful") / "run", PLAN)


@pytest.mark.parametrize(("code", "severity"), SCENARIOS)
def test_each_code_is_found_in_a_run_that_is_spoiled_so(
    tmp_path: Path, faithful: RunFolder, code: str, severity: str
) -> None:
    plan, spoil = SCENARIOS[code, severity]
    if plan is PLAN:
        shutil.copytree(faithful.root, tmp_path / "run")
        folder = RunFolder(tmp_path / "run")
    else:
        folder = write_run(tmp_path / "run", plan)
    assert plan is not PLAN or _found(folder) == []
    spoil(folder)
    report = inspect_run(folder.root)
    assert (code, severity) in {(finding.code, finding.severity) for finding in report.findings}
    assert report.verified is (not any(finding.severity == "error" for finding in report.findings))


def test_two_calculations_that_differ_the_wrong_way(faithful: RunFolder) -> None:
    ledger = client_ledgers(read_run(faithful.root))[0]
    cost = Spent(epsilon=4.0, epsilon_rdp=3.0, epsilon_unamplified=9.0, exact=True)
    (finding,) = check_spending(ledger, cost)
    assert (finding.code, finding.severity) == ("accountants-disagree", "warning")


def test_every_code_has_its_scenario_in_every_severity() -> None:
    elsewhere = {("accountants-disagree", "warning")}
    registered = {(code, severity) for code, entry in CODES.items() for severity in entry.severities}
    assert set(SCENARIOS) | elsewhere == registered


def test_every_code_in_the_program_is_registered() -> None:
    named = set(LEDGER_FLAWS)
    for file in Path(next(iter(common.audit.__path__))).glob("verify*.py"):
        named |= _codes_in(file.read_text(encoding="utf-8"))
    named |= _codes_in((Path(next(iter(common.audit.__path__))) / "earlier.py").read_text(encoding="utf-8"))
    assert named == set(CODES)


def _codes_in(source: str) -> set[str]:
    """Return the codes that a module gives to the makers of findings, or keeps in a variable for them."""
    nodes = list(ast.walk(ast.parse(source)))
    calls = [n for n in nodes if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
    makers = [c for c in calls if isinstance(c.func, ast.Name) and c.func.id in _MAKERS and c.args]
    chosen = [n for n in nodes if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "code"]
    parts = [part for c in makers for part in ast.walk(c.args[0])]
    parts += [part for n in chosen for part in ast.walk(n.value)]
    texts = {part.value for part in parts if isinstance(part, ast.Constant)}
    return {
        text for text in texts if isinstance(text, str) and re.fullmatch(r"[a-z]+(-[a-z]+)+|amended", text)
    }


_CODE = re.compile(r"[a-z]+(-[a-z]+)+|amended")
_MAKERS = {"error", "warning", "note", "kind", "_differs"}


def test_meanings_and_advice_are_sentences() -> None:
    for code, entry in CODES.items():
        assert entry.meaning.endswith("."), code
        assert entry.advice.endswith("."), code


def test_the_page_of_findings_is_what_is_registered() -> None:
    """Set REWRITE_FINDINGS=1 to write it."""
    if os.environ.get("REWRITE_FINDINGS"):
        TABLE.write_text(_page(), encoding="utf-8")
    assert TABLE.read_text(encoding="utf-8") == _page()


def _page() -> str:
    rows = [
        f"| `{code}` | {' or '.join(entry.severities)} | {entry.meaning} | {entry.advice} |"
        for code, entry in CODES.items()
    ]
    return "\n".join([*_HEAD, *rows, ""])


_HEAD = [
    "# What an audit can find",
    "",
    "`fedledger audit` exits with 1 when a finding is an *error*: something that is claimed is not true. A",
    "*warning* weakens trust in the claim, a *note* is good to know; with these alone it exits with 0. Each",
    "finding has a code that stays the same, a sentence, and the file and entry that show it.",
    "[attacks.md](attacks.md) says which attack leads to which code, and what no audit can see.",
    "",
    "| code | severity | what it means | what to do |",
    "|---|---|---|---|",
]
