from __future__ import annotations

import base64
import hashlib
import itertools
import json
import time

import pytest
import rfc8785

from common.errors import LedgerError, LedgerTampered
from common.ledger import Ledger, LedgerView, Release, Reserve, SigningKey, parse_lines, read_ledger
from common.ledger.lines import write_line
from common.privacy.mechanisms import PoissonGaussian


def test_a_line_is_canonical_chained_and_signed_over_its_pre_authentication_encoding(filled, key):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    previous = "0" * 64
    for number, line in enumerate(filled.view.lines):
        record = json.loads(line)
        assert rfc8785.dumps(record).decode() == line
        assert record["entry"]["sequence"] == number
        assert record["entry"]["previous"] == previous
        payload = rfc8785.dumps(record["entry"])
        kind = b"application/vnd.fedledger.entry+json"
        signed = b"DSSEv1 36 " + kind + b" " + str(len(payload)).encode() + b" " + payload
        Ed25519PublicKey.from_public_bytes(key.public).verify(base64.b64decode(record["signature"]), signed)
        previous = hashlib.sha256(line.encode()).hexdigest()
    assert filled.view.head == previous


def test_reading_gives_back_what_was_appended(filled, path):
    view = read_ledger(path)
    assert view == filled.view
    assert [type(entry.body).__name__ for entry in view.entries] == [
        "Genesis",
        "Reserve",
        "Release",
        "Reserve",
        "Abort",
        "Reserve",
    ]
    assert view.genesis.num_examples == 100


def test_every_charge_counts_whether_released_or_not(filled):
    three_steps = filled.view.reservations()[0].mechanisms[0]
    assert filled.view.mechanisms() == (three_steps,) * 3
    assert filled.view.mechanisms(exclude_run="run-1") == (three_steps,)
    assert filled.view.mechanisms(exclude_run="run-9") == (three_steps,) * 3


def test_no_number_in_a_ledger_is_a_float(filled):
    def refuse(text: str) -> float:
        raise AssertionError(text)

    for line in filled.view.lines:
        json.loads(line, parse_float=refuse)


def test_every_flipped_byte_is_detected(ledger, reserve, path):
    ledger.append(reserve())
    ledger.append(Release(run="run-1", round=1, reserve=1, update="b" * 64))
    good = path.read_bytes()
    for place, flip in itertools.product(range(len(good)), (0x01, 0x20, 0x80)):
        bad = bytearray(good)
        bad[place] ^= flip
        path.write_bytes(bytes(bad))
        with pytest.raises(LedgerTampered):
            read_ledger(path)


def test_the_first_bad_entry_is_named(filled):
    lines = list(filled.view.lines)
    lines[3] = lines[3].replace('"round":2', '"round":7')
    with pytest.raises(LedgerTampered, match=r"^entry 3: its signature") as caught:
        parse_lines(lines)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", range(5))
def test_a_missing_line_is_detected(filled, number):
    lines = list(filled.view.lines)
    del lines[number]
    with pytest.raises(LedgerTampered, match=f"entry {number}: "):
        parse_lines(lines)


def test_lines_missing_at_the_end_show_in_the_head_only(filled):
    shorter = parse_lines(filled.view.lines[:-1])
    assert shorter.head == filled.view.entries[-2].hash != filled.view.head


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(range(6), 2)))
def test_two_swapped_lines_are_detected(filled, one, other):
    lines = list(filled.view.lines)
    lines[one], lines[other] = lines[other], lines[one]
    with pytest.raises(LedgerTampered, match=f"entry {one}: "):
        parse_lines(lines)


@pytest.mark.parametrize("number", range(6))
def test_a_doubled_line_is_detected(filled, number):
    lines = list(filled.view.lines)
    lines.insert(number, lines[number])
    with pytest.raises(LedgerTampered, match=f"entry {number + 1}: "):
        parse_lines(lines)


@pytest.mark.parametrize("number", range(1, 6))
def test_an_entry_signed_with_another_key_is_detected(filled, number):
    lines, entries = list(filled.view.lines), filled.view.entries
    other = SigningKey.generate()
    for entry in entries[number:]:
        previous = hashlib.sha256(lines[entry.sequence - 1].encode()).hexdigest()
        lines[entry.sequence] = write_line(entry.body, sequence=entry.sequence, previous=previous, key=other)
    with pytest.raises(LedgerTampered, match=f"entry {number}: its signature"):
        parse_lines(lines)


def forged(view: LedgerView, key: SigningKey, change: dict[str, object], kind: type) -> str:
    """Sign, with the right key, a next entry whose fields are changed."""
    template = next(
        line for entry, line in zip(view.entries, view.lines, strict=True) if type(entry.body) is kind
    )
    entry = json.loads(template)["entry"] | {"sequence": len(view.entries), "previous": view.head} | change
    signature = base64.b64encode(key.sign(rfc8785.dumps(entry))).decode()
    return rfc8785.dumps({"entry": entry, "signature": signature}).decode()


@pytest.mark.parametrize(
    ("change", "kind", "reason"),
    [
        ({"format": "fedledger/2"}, Reserve, "format"),
        ({"sequence": 7}, Reserve, "sequence"),
        ({"sequence": 5}, Reserve, "sequence"),
        ({"previous": "0" * 64}, Reserve, "previous"),
        ({"type": "REFUND"}, Reserve, "type"),
        ({"round": 0}, Reserve, "round"),
        ({"round": True}, Reserve, "round"),
        ({"batch_size": 17}, Reserve, "batch_size"),
        ({"mechanisms": []}, Reserve, "mechanisms"),
        ({"max_grad_norm": "0"}, Reserve, "max_grad_norm"),
        ({"max_grad_norm": "1.0"}, Reserve, "max_grad_norm"),
        ({"max_grad_norm": 1.5}, Reserve, "1.5 is not a whole number"),
        ({"normaliser": [40, 2]}, Reserve, "normaliser"),
        ({"noise_source": "torch"}, Reserve, "noise_source"),
        ({"input_model": "A" * 64}, Reserve, "input_model"),
        ({"libraries": {"opacus": 1}}, Reserve, "libraries"),
        ({"run": "two\nlines"}, Reserve, "run"),
        ({}, Release, "open RESERVE"),
        ({"reserve": 5}, Release, "open RESERVE"),
        ({"reserve": 2}, Release, "open RESERVE"),
        ({"reserve": 99}, Release, "open RESERVE"),
        ({"reserve": 5, "run": "run-2", "round": 2}, Release, "open RESERVE"),
    ],
)
def test_a_well_signed_entry_must_still_be_lawful(filled, key, change, kind, reason):
    view = filled.view
    with pytest.raises(LedgerTampered, match=f"entry 6: .*{reason}"):
        view.extend([forged(view, key, change, kind)])


def test_the_forging_test_would_accept_a_lawful_entry(filled, key):
    change = {"reserve": 5, "run": "run-2", "round": 1}
    assert len(filled.view.extend([forged(filled.view, key, change, Release)]).entries) == 7


def test_a_second_genesis_is_refused(filled, key):
    line = write_line(filled.view.genesis, sequence=6, previous=filled.view.head, key=key)
    with pytest.raises(LedgerTampered, match="only GENESIS"):
        filled.view.extend([line])


def test_a_ledger_begins_with_a_genesis(filled, key, reserve):
    with pytest.raises(LedgerTampered, match="entry 0: a ledger begins"):
        parse_lines([write_line(reserve(), sequence=0, previous="0" * 64, key=key)])
    with pytest.raises(LedgerTampered, match="no entries"):
        parse_lines([])


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line.replace(":", ": ", 1),
        lambda line: " " + line,
        lambda line: line + " ",
        lambda line: line.replace('"sequence":6', '"sequence":6.0'),
        lambda line: line.replace('"sequence":6', '"sequence":6,"sequence":6'),
        lambda line: line[:-1] + ',"note":1}',
        lambda line: line[:-3] + '"}',
        lambda line: "[" * 100_000,
        lambda line: "9" * 5000,
        lambda line: "NaN",
        lambda line: "{}",
        lambda line: "",
    ],
)
def test_only_the_canonical_form_of_a_line_is_read(filled, key, reserve, change):
    line = write_line(reserve(5), sequence=6, previous=filled.view.head, key=key)
    assert len(filled.view.extend([line]).entries) == 7
    with pytest.raises(LedgerTampered, match="entry 6: "):
        filled.view.extend([change(line)])


def test_extending_verifies_new_lines_and_leaves_the_view(filled, key, reserve):
    line = write_line(reserve(5), sequence=6, previous=filled.view.head, key=key)
    longer = filled.view.extend([line])
    assert longer == parse_lines([*filled.view.lines, line])
    assert len(filled.view.entries) == 6


def test_a_file_without_entries_or_at_all_is_refused_in_one_line(tmp_path):
    with pytest.raises(LedgerError, match="does not exist: name a ledger"):
        read_ledger(tmp_path / "none.jsonl")
    with pytest.raises(LedgerError, match="is a folder: name one ledger"):
        read_ledger(tmp_path)
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    with pytest.raises(LedgerTampered, match="empty, cut or was torn"):
        read_ledger(empty)


def test_reading_does_not_repair(filled, path):
    torn = path.read_bytes() + b'{"entry"'
    path.write_bytes(torn)
    with pytest.raises(LedgerTampered, match="torn"):
        read_ledger(path)
    assert path.read_bytes() == torn


def test_a_thousand_entries_are_verified_in_about_a_second(ledger, key, path, reserve):
    lines, previous = list(ledger.view.lines), ledger.view.head
    for number in range(1, 1000):
        lines.append(write_line(reserve(number), sequence=number, previous=previous, key=key))
        previous = hashlib.sha256(lines[-1].encode()).hexdigest()
    path.write_text("\n".join(lines) + "\n")
    started = time.process_time()
    view = Ledger.open(path, key).view
    assert time.process_time() - started < 3
    assert len(view.entries) == 1000
    assert view.mechanisms()[0] == PoissonGaussian(
        noise_multiplier=1.25, sample_rate=view.reservations()[0].normaliser / 100, num_steps=3
    )
