"""A run's folder holds the charges of every round that it holds, whoever is away when the run goes on."""

from __future__ import annotations

import pytest

from common.ledger import read_ledger
from common.run_folder import RunFolder
from server import rounds
from server.checkpoint import load_state
from server.copies import LedgerCopies
from tests.small_federation import MODEL, Watcher, coordinate
from tests.three_clients import clients

pytestmark = pytest.mark.usefixtures("flower_identity")


@pytest.fixture
def folder(tmp_path, monkeypatch) -> RunFolder:
    monkeypatch.setattr(rounds, "initial_arrays", lambda *_, **__: MODEL)
    return RunFolder(tmp_path / "run")


class Killed(Watcher):
    """Ends the run as a kill would, as soon as a round is saved."""

    def round_finished(self, state, outcome):
        super().round_finished(state, outcome)
        if state.round == 2:
            raise KeyboardInterrupt


def check(folder: RunFolder) -> None:
    """Hold the copies against what the run's last saved state has seen."""
    known = load_state(folder).known
    assert sorted(known) == [0, 1, 2]
    for number, seen in known.items():
        entries = read_ledger(folder.ledger(number)).entries
        assert entries[seen.entries - 1].hash == seen.head


def test_charges_of_a_client_that_does_not_come_back_are_in_the_folder(folder):
    asked = clients()
    with pytest.raises(KeyboardInterrupt):
        coordinate(folder, asked, rounds=4, watcher=Killed(), copies=LedgerCopies(folder))
    check(folder)
    state = coordinate(folder, [asked[0], asked[2]], rounds=4, copies=LedgerCopies(folder))
    assert (state.round, sorted(state.clients)) == (4, [0, 2])
    check(folder)


def test_half_a_line_that_a_crash_left_is_cut_off(folder):
    coordinate(folder, clients(), rounds=1, copies=LedgerCopies(folder))
    path = folder.ledger(1)
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"entry":')
    LedgerCopies(folder)
    assert path.read_bytes() == whole
    check(folder)
