"""A log is one line an event, and holds no exception's text."""

from __future__ import annotations

import json
import logging

import pytest

from common.logs import ROOT, begin_logging


@pytest.fixture(autouse=True)
def restored():
    before = (ROOT.handlers, ROOT.level, ROOT.propagate)
    yield
    ROOT.handlers, ROOT.propagate = before[0], before[2]
    ROOT.setLevel(before[1])


def fail() -> None:
    raise ValueError("patient Smith")


@pytest.mark.parametrize("style", ["text", "json"])
def test_an_exception_is_its_type_and_place(style, capsys):
    begin_logging(style)
    try:
        fail()
    except ValueError:
        logging.getLogger("fedledger.client").exception("a client failed")
    said = capsys.readouterr().err
    assert "ValueError in " in said
    assert "fail:" in said
    assert "Smith" not in said
    assert said.count("\n") == 1


def test_a_peers_text_begins_no_line_of_its_own(capsys):
    begin_logging("text")
    logging.getLogger("fedledger.client").info("it said %s", "a\nb\x1b[2J\u202e")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "\x1b" not in said
    assert "\u202e" not in said


def test_json_has_fields(capsys):
    begin_logging("json")
    logging.getLogger("fedledger.worker").warning("refused", extra={"fields": {"seconds": 0.5}})
    entry = json.loads(capsys.readouterr().err)
    assert (entry["level"], entry["component"]) == ("warning", "worker")
    assert (entry["message"], entry["seconds"]) == ("refused", 0.5)
    assert entry["time"].endswith("Z")


def test_details_are_shown_only_when_asked_for(capsys):
    begin_logging("text")
    logging.getLogger("fedledger.node").debug("detail")
    assert capsys.readouterr().err == ""
    begin_logging("text", level=logging.DEBUG)
    logging.getLogger("fedledger.node").debug("detail")
    assert "detail" in capsys.readouterr().err


def test_of_libraries_only_the_errors_are_shown_that_were_asked_for(capsys):
    begin_logging("json", heard=("uvicorn.error",))
    logging.getLogger("uvicorn.error").warning("a peer sent nonsense")
    logging.getLogger("asyncio").error("nobody asked")
    logging.getLogger("uvicorn.error").error("a defect")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["message"] == "a defect"
