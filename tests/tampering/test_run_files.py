"""Whatever is done to rounds, model or settings of a run, the audit sees it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.audit import audit, inspect_run, records
from common.audit.records import read_home, read_run
from common.audit.verify_log import check_log
from common.errors import CheckpointError
from common.run_folder import RunFolder
from tests.forgery import lines_of, write_lines
from tests.run_folders import edit_round

Copy = Callable[[], RunFolder]


def codes_of(folder: RunFolder) -> set[str]:
    """Return the codes of the errors that refute a run."""
    report = inspect_run(folder.root)
    errors = {finding.code for finding in report.findings if finding.severity == "error"}
    assert report.verified is not bool(errors)
    return errors


def test_changed_bytes_of_the_rounds_are_seen(copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy()
    beside = read_home(folder.root)
    monkeypatch.setattr(records, "read_home", lambda _: beside)
    data = folder.rounds.read_bytes()
    for place in range(0, len(data) - 1, 5):
        folder.rounds.write_bytes(data[:place] + bytes([data[place] ^ 0x01]) + data[place + 1 :])
        assert _refused_or_found(folder.root), place


def _refused_or_found(root: Path) -> bool:
    """Say whether the rounds are no longer what a run writes, or not what the log says."""
    try:
        run = read_run(root)
    except CheckpointError:
        return True
    found = {finding.code for finding in check_log(run, [], "run-1")}
    return bool(found & {"round-differs", "round-not-in-log"})


@pytest.mark.parametrize("number", range(1, 8))
def test_every_removed_round_is_seen(copy: Copy, number: int) -> None:
    folder = copy()
    lines = lines_of(folder.rounds)
    del lines[number - 1]
    write_lines(folder.rounds, lines)
    assert codes_of(folder) >= {"round-missing"}


def test_an_invented_round_is_seen(copy: Copy) -> None:
    folder = copy()
    lines = lines_of(folder.rounds)
    last = json.loads(lines[-1])
    write_lines(folder.rounds, [*lines, json.dumps(last | {"round": 8, "participants": [], "updates": {}})])
    assert codes_of(folder) >= {"round-not-in-log"}


@pytest.mark.parametrize(
    "changes",
    [
        {"accuracy": 0.99},
        {"participants": [0]},
        {"refused": [{"partition_id": 1, "code": "data"}]},
        {"updates": {}},
        {"average_model": "0" * 64},
    ],
)
def test_every_edited_round_is_seen(copy: Copy, changes: dict[str, Any]) -> None:
    folder = copy()
    edit_round(folder, 4, **changes)
    assert codes_of(folder) >= {"round-differs"}


def test_every_changed_byte_of_the_model_is_seen(copy: Copy) -> None:
    folder = copy()
    data = folder.model.read_bytes()
    for place, byte in enumerate(data):
        folder.model.write_bytes(data[:place] + bytes([byte ^ 0x01]) + data[place + 1 :])
        assert codes_of(folder) == {"model-differs"}


SETTINGS = [
    ("enabled", "true", "false", {"protection-differs", "budget-differs"}),
    ("epsilon", "8.0", "6.0", {"budget-differs"}),
    ("delta", '"auto"', "1e-06", {"delta-differs"}),
    ("noise-multiplier", '"auto"', "4.0", {"noise-multiplier-differs"}),
    ("max-grad-norm", "1.0", "0.5", {"clip-differs"}),
    ("reproducible-noise", "false", "true", {"noise-source-differs"}),
]


@pytest.mark.parametrize(("name", "old", "new", "codes"), SETTINGS)
def test_every_edited_privacy_setting_is_seen(
    copy: Copy, name: str, old: str, new: str, codes: set[str]
) -> None:
    folder = copy()
    _edit_setting(folder, name, old, new)
    assert codes_of(folder) == codes


def _edit_setting(folder: RunFolder, name: str, old: str, new: str) -> None:
    text = folder.config.read_text(encoding="utf-8")
    changed = re.sub(rf"(?m)^{name} = {re.escape(old)}$", f"{name} = {new}", text)
    assert changed != text
    folder.config.write_text(changed, encoding="utf-8")


def test_a_setting_that_no_ledger_repeats_is_seen_where_there_is_a_report(copy: Copy) -> None:
    folder = copy()
    audit(folder.root)
    _edit_setting(folder, "epsilon", "8.0", "9.0")
    assert codes_of(folder) == {"report-differs"}
