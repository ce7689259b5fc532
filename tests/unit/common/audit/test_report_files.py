"""Reading reports to compare them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from common.audit import audit
from common.audit.report_files import read_source
from common.errors import CheckpointError
from tests.run_folders import RunPlan, sha256, write_run


def test_a_run_folder_is_audited_anew_and_not_written_to(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", RunPlan())
    before = {file: file.stat().st_mtime_ns for file in folder.root.rglob("*")}
    source = read_source(folder.root)
    assert {file: file.stat().st_mtime_ns for file in folder.root.rglob("*")} == before
    client = source.report.clients[0]
    lines = folder.ledger(0).read_text(encoding="utf-8").splitlines()
    assert source.lines[client.ledger_id] == tuple(sha256(line) for line in lines)
    assert source.lines[client.ledger_id][-1] == client.head


def test_a_report_is_taken_at_its_word(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", RunPlan())
    report = audit(folder.root)
    file = folder.root / "report.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | {"epsilon": 0.5}), encoding="utf-8")
    source = read_source(file)
    assert (source.report.epsilon, source.report.guarantee, source.lines) == (0.5, report.guarantee, {})


def test_ledgers_are_audited_as_well_as_runs(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", RunPlan())
    for path in (folder.ledger(0).parent, folder.ledger(0)):
        source = read_source(path)
        client = source.report.clients[0]
        assert source.lines[client.ledger_id][-1] == client.head


def test_of_a_damaged_ledger_no_lines_are_known(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", RunPlan())
    folder.ledger(0).write_text("{}\n", encoding="utf-8")
    assert len(read_source(folder.root).lines) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "is not a report"),
        (b"\xff", "is not a report"),
        (b"[" * 100_000, "is not a report"),
        (b"[]", "has the form None"),
        (b'{"schema": "fedledger-report/1"}', "permitted is fedledger-report/2"),
        (b'{"schema": "fedledger-report/2"}', "is not what an audit writes"),
    ],
)
def test_what_is_no_report_is_named_with_the_way_out(tmp_path: Path, content: bytes, said: str) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=said) as caught:
        read_source(file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        read_source(tmp_path / "nowhere")
