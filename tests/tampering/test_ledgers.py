"""Whatever is done to a ledger, the audit sees it and says what it is."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from common.audit import inspect_run
from common.audit.codes import LEDGER_FLAWS
from common.errors import LedgerTampered
from common.ledger import Acknowledged, Body, Genesis, LedgerView, Release, Reserve, SigningKey, parse_lines
from common.ledger.lines import split_lines
from common.run_folder import RunFolder
from tests.forgery import bodies_of, lines_of, rewrite, write_lines
from tests.run_folders import RunPlan, sha256, write_run

Copy = Callable[[], RunFolder]

ENTRIES = 22


def codes_of(folder: RunFolder) -> set[str]:
    """Return the codes of the errors that refute a run."""
    report = inspect_run(folder.root)
    errors = {finding.code for finding in report.findings if finding.severity == "error"}
    assert report.verified is not bool(errors)
    return errors


def test_the_true_run_is_verified(true_run: RunFolder) -> None:
    report = inspect_run(true_run.root)
    assert (report.verified, report.findings) == (True, ())
    assert [client.entries for client in report.clients] == [ENTRIES, ENTRIES]


@pytest.mark.parametrize("bits", [0x01, 0x20, 0x80])
def test_every_changed_byte_is_seen(true_run: RunFolder, bits: int) -> None:
    path = true_run.ledger(0)
    data = path.read_bytes()
    before = _prefixes(data.decode().splitlines())
    number = 0
    for place, byte in enumerate(data):
        changed = data[:place] + bytes([byte ^ bits]) + data[place + 1 :]
        flaw, entry = _flaw(changed, path, before[number], number)
        assert flaw in LEDGER_FLAWS, place
        assert entry in {None, number}, place
        number += byte == ord("\n")


def _prefixes(lines: list[str]) -> list[LedgerView | None]:
    views: list[LedgerView | None] = [None]
    for line in lines:
        views.append(views[-1].extend([line]) if views[-1] else parse_lines([line]))
    return views


def _flaw(data: bytes, path: Path, before: LedgerView | None, number: int) -> tuple[str, int | None]:
    """Read a ledger as the audit does, but for the lines before `number`, which were verified already."""
    try:
        lines = split_lines(data, path)[number:]
        if before is None:
            parse_lines(lines)
        else:
            before.extend(lines)
    except LedgerTampered as error:
        return error.flaw, error.entry
    return "nothing", None


def _edit(copy: Copy, edit: Callable[[list[str]], object], client: int = 0) -> set[str]:
    folder = copy()
    lines = lines_of(folder.ledger(client))
    edit(lines)
    write_lines(folder.ledger(client), lines)
    return codes_of(folder)


@pytest.mark.parametrize("number", range(ENTRIES))
def test_every_removed_entry_is_seen(copy: Copy, number: int) -> None:
    codes = _edit(copy, lambda lines: lines.pop(number))
    assert codes & ({"ledger-rollback"} if number == ENTRIES - 1 else {"chain-broken"})


@pytest.mark.parametrize("number", range(ENTRIES - 1))
def test_every_swap_of_neighbours_is_seen(copy: Copy, number: int) -> None:
    def swap(lines: list[str]) -> None:
        lines[number], lines[number + 1] = lines[number + 1], lines[number]

    assert _edit(copy, swap) >= {"chain-broken"}


@pytest.mark.parametrize("number", range(ENTRIES))
def test_every_repeated_entry_is_seen(copy: Copy, number: int) -> None:
    assert _edit(copy, lambda lines: lines.insert(number, lines[number])) >= {"chain-broken"}


@pytest.mark.parametrize("number", range(ENTRIES))
def test_every_older_state_is_seen(copy: Copy, number: int) -> None:
    def cut(lines: list[str]) -> None:
        del lines[number:]

    assert _edit(copy, cut) & ({"ledger-rollback"} if number else {"ledger-torn"})


@pytest.mark.parametrize("number", range(1, ENTRIES))
def test_every_entry_of_another_client_is_seen(copy: Copy, true_run: RunFolder, number: int) -> None:
    other = lines_of(true_run.ledger(1))

    def splice(lines: list[str]) -> None:
        lines[number] = other[number]

    assert _edit(copy, splice) >= {"chain-broken"}


def test_a_ledger_that_goes_on_with_that_of_another_client_is_seen(copy: Copy, true_run: RunFolder) -> None:
    other = lines_of(true_run.ledger(1))
    assert _edit(copy, lambda lines: lines.extend(other[1:])) >= {"chain-broken"}


def test_a_ledger_of_another_run_is_seen(copy: Copy, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", RunPlan(rounds=7))
    folder = copy()
    shutil.copy(other.ledger(0), folder.ledger(0))
    assert codes_of(folder) >= {"ledger-swapped", "receipt-by-other-server"}


def test_ledgers_of_two_clients_exchanged_are_seen(copy: Copy, true_run: RunFolder) -> None:
    folder = copy()
    shutil.copy(true_run.ledger(0), folder.ledger(1))
    shutil.copy(true_run.ledger(1), folder.ledger(0))
    assert codes_of(folder) >= {"ledger-swapped", "update-differs"}


def test_one_ledger_for_two_clients_is_seen(copy: Copy) -> None:
    folder = copy()
    shutil.copy(folder.ledger(0), folder.ledger(1))
    assert codes_of(folder) >= {"ledger-shared", "ledger-swapped"}


@pytest.mark.parametrize("number", range(1, ENTRIES))
def test_entries_signed_by_another_key_are_seen(copy: Copy, number: int) -> None:
    folder = copy()
    rewrite(folder.ledger(0), bodies_of(folder.ledger(0)), SigningKey.generate(), keep=number)
    assert codes_of(folder) >= {"signature-wrong"}


def test_a_ledger_begun_anew_with_another_key_is_seen(copy: Copy) -> None:
    folder = copy()
    key = SigningKey.generate()
    genesis, *bodies = bodies_of(folder.ledger(0))
    assert isinstance(genesis, Genesis)
    without = [body for body in bodies if not isinstance(body, Acknowledged)]
    rewrite(
        folder.ledger(0), [dataclasses.replace(genesis, public_key=key.public), *_renumbered(without)], key
    )
    assert codes_of(folder) == {"ledger-fork", "ledger-rollback"}


def test_a_ledger_begun_anew_under_another_identity_is_seen(copy: Copy) -> None:
    folder = copy()
    key = SigningKey.load(folder.key(0))
    genesis, *bodies = bodies_of(folder.ledger(0))
    assert isinstance(genesis, Genesis)
    without = [body for body in bodies if not isinstance(body, Acknowledged)]
    genesis = dataclasses.replace(genesis, ledger_id=sha256("new"))
    rewrite(folder.ledger(0), [genesis, *_renumbered(without)], key)
    assert codes_of(folder) == {"ledger-swapped", "second-ledger"}


def _renumbered(bodies: Sequence[Body]) -> list[Body]:
    """Let each RELEASE name the entry before it, as it does when there are no receipts."""
    return [
        dataclasses.replace(body, reserve=number - 1) if isinstance(body, Release) else body
        for number, body in enumerate(bodies, 1)
    ]


@pytest.mark.parametrize("number", range(1, ENTRIES, 3))
def test_a_cheaper_charge_signed_by_the_client_itself_is_seen(copy: Copy, number: int) -> None:
    folder = copy()
    bodies = bodies_of(folder.ledger(0))
    charge = bodies[number]
    assert isinstance(charge, Reserve)
    (mechanism,) = charge.mechanisms
    bodies[number] = dataclasses.replace(charge, mechanisms=(dataclasses.replace(mechanism, num_steps=1),))
    kept = [body for place, body in enumerate(bodies) if place < number + 2]
    rewrite(folder.ledger(0), kept, SigningKey.load(folder.key(0)), keep=number)
    assert codes_of(folder) >= {"ledger-fork", "steps-differ"}


@pytest.mark.parametrize("number", range(2, ENTRIES, 3))
def test_another_release_signed_by_the_client_itself_is_seen(copy: Copy, number: int) -> None:
    folder = copy()
    bodies = bodies_of(folder.ledger(0))[: number + 1]
    bodies[number] = dataclasses.replace(bodies[number], update=sha256("other"))
    rewrite(folder.ledger(0), bodies, SigningKey.load(folder.key(0)), keep=number)
    assert codes_of(folder) >= {"ledger-fork", "update-differs"}


def test_a_ledger_that_is_gone_is_seen(copy: Copy) -> None:
    folder = copy()
    folder.ledger(1).unlink()
    assert codes_of(folder) == {"ledger-missing"}


def test_a_second_ledger_for_the_same_records_is_seen(tmp_path: Path) -> None:
    plan = RunPlan(genesis={"commitment": sha256("the records of both")})
    assert codes_of(write_run(tmp_path / "run", plan)) == {"second-ledger"}


def test_settings_changed_after_results_were_seen_are_seen(tmp_path: Path) -> None:
    def less_noise(body: Reserve, _: int) -> Reserve:
        (mechanism,) = body.mechanisms
        noise = dataclasses.replace(mechanism, noise_multiplier=2.0 if body.round < 3 else 1.5)
        return dataclasses.replace(body, mechanisms=(noise,))

    assert codes_of(write_run(tmp_path / "run", RunPlan(change=less_noise))) == {"mechanism-changed"}


def test_a_charge_prepared_in_advance_is_seen(tmp_path: Path) -> None:
    def replayed(body: Reserve, client: int) -> Reserve:
        return dataclasses.replace(body, server_nonce=sha256(f"the first number for {client}"))

    assert codes_of(write_run(tmp_path / "run", RunPlan(change=replayed))) == {"nonce-repeated"}
