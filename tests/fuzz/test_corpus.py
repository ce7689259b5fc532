"""Hostile inputs that once reached something new are judged as they were then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fuzz.case import Target
from benchmarks.fuzz.corpus import load
from benchmarks.fuzz.engine import judge
from benchmarks.fuzz.ledger import FLAWS
from benchmarks.fuzz.targets import NAMES, open_target

CORPUS = Path(__file__).parent / "corpus"


@pytest.fixture(scope="module", params=NAMES)
def target(request) -> Iterator[Target]:
    with open_target(request.param) as target:
        yield target


def test_kept_inputs_have_the_outcome_that_they_had(target):
    kept = load(CORPUS / f"{target.name}.json")
    assert len(kept) >= 50
    for number, item in enumerate(kept):
        outcome = judge(target, item.case)
        seen = (outcome.verdict, outcome.why, outcome.entry)
        assert seen == (item.verdict, item.why, item.entry), f"case {number}: {item.case.parts!r:.500}"


def test_kept_ledgers_show_every_flaw():
    whys = Counter(item.why for item in load(CORPUS / "ledger.json") if item.verdict == "refused")
    assert set(whys) == FLAWS


def test_every_reader_accepts_some_kept_inputs_and_refuses_others():
    kept = [item for name in NAMES for item in load(CORPUS / f"{name}.json")]
    verdicts = {(item.case.kind, item.verdict) for item in kept}
    kinds = {"ledger", "log", "note", "key", "receipt", "delivery", "file", "assignments", "layers"}
    assert verdicts == {(kind, verdict) for kind in kinds for verdict in ("accepted", "refused")}
