"""Laws of the ledger over random histories."""

from __future__ import annotations

import json
import tempfile
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import LedgerTampered
from common.ledger import Abort, Genesis, Ledger, Release, Reserve, SigningKey, parse_lines, read_ledger
from common.ledger.entry_json import body_from_json, body_to_json
from common.privacy.mechanisms import PoissonGaussian, Unprotected

quick = settings(derandomize=True, deadline=None, max_examples=40)

KEY = SigningKey.generate()
names = st.from_regex("[A-Za-z0-9._/+-]{1,80}", fullmatch=True)
hashes = st.from_regex("[0-9a-f]{64}", fullmatch=True)
positive = st.floats(1e-12, 1e12)
rates = st.fractions(Fraction(1, 1000), Fraction(1), max_denominator=10**6)
mechanisms = st.one_of(
    st.builds(PoissonGaussian, noise_multiplier=positive, sample_rate=rates, num_steps=st.integers(1, 10**9)),
    st.builds(Unprotected, num_steps=st.integers(1, 10**9)),
)
reserves = st.builds(
    Reserve,
    run=names,
    round=st.integers(1, 10**6),
    purpose=names,
    mechanisms=st.lists(mechanisms, min_size=1, max_size=3).map(tuple),
    max_grad_norm=st.none() | positive,
    normaliser=st.fractions(Fraction(1, 1000), 10**6, max_denominator=10**6),
    sampler=names,
    noise_source=st.sampled_from(["chacha20", "reproducible", "none"]),
    input_model=hashes,
    server_nonce=hashes,
    code_digest=hashes,
    libraries=st.dictionaries(names, names, max_size=3),
)
geneses = st.builds(
    Genesis,
    ledger_id=hashes,
    public_key=st.just(KEY.public),
    delta=st.floats(1e-300, 0.999),
    budget_epsilon=st.none() | positive,
    filter_order=st.none(),
    num_examples=st.integers(1, 10**9),
    commitment=hashes,
)


@quick
@given(st.one_of(geneses, reserves))
def test_a_body_is_its_json_and_nothing_else(body):
    text = json.dumps(body_to_json(body))
    assert body_from_json(json.loads(text)) == body


@st.composite
def histories(draw):
    """A lawful sequence: charges, each of them released, aborted or left open, in any order."""
    bodies, open_charges = [], []
    for number in range(1, draw(st.integers(1, 8)) + 1):
        if open_charges and draw(st.booleans()):
            sequence, charge = open_charges.pop(draw(st.integers(0, len(open_charges) - 1)))
            closing = {"run": charge.run, "round": charge.round, "reserve": sequence}
            release = draw(st.booleans())
            bodies.append(Release(**closing, update="f" * 64) if release else Abort(**closing, reason="data"))
        else:
            bodies.append(draw(reserves))
            open_charges.append((number, bodies[-1]))
    return bodies


@quick
@given(geneses, histories())
def test_what_is_appended_is_read_back_in_the_same_order(genesis, bodies):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.jsonl"
        ledger = Ledger.create(path, KEY, genesis)
        for body in bodies:
            ledger.append(body)
        view = read_ledger(path)
    assert [entry.body for entry in view.entries] == [genesis, *bodies]
    assert view == ledger.view
    charged = [mechanism for body in bodies if isinstance(body, Reserve) for mechanism in body.mechanisms]
    assert list(view.mechanisms()) == charged
    for cut in range(1, len(view.lines)):
        assert parse_lines(view.lines[:cut]).extend(view.lines[cut:]) == view


@quick
@given(geneses, histories(), st.data())
def test_any_other_order_or_selection_of_lines_is_refused(genesis, bodies, data):
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger.create(Path(folder) / "ledger.jsonl", KEY, genesis)
        for body in bodies:
            ledger.append(body)
    lines = list(ledger.view.lines)
    picked = data.draw(st.lists(st.sampled_from(range(len(lines))), min_size=1, max_size=len(lines) + 2))
    if picked == list(range(len(picked))):
        assert parse_lines([lines[i] for i in picked]).lines == tuple(lines[: len(picked)])
        return
    with pytest.raises(LedgerTampered):
        parse_lines([lines[number] for number in picked])
