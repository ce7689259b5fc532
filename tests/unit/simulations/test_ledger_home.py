"""Ledgers that outlive runs: what was spent stays spent, whatever folder the next run has."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from client.site import close_sites
from common.errors import CheckpointError, ConfigError, LedgerError, RoundFailed
from common.ledger import Amend, Reserve, read_ledger
from common.ledger.commitment import load_salt
from common.privacy.accounting import epsilon_pld
from simulations.harness import Simulation, resume, simulate
from tests.small_federation import Watcher


@pytest.fixture
def home(tmp_path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def run(tiny_settings, home):
    """Return a function that runs two clients for two rounds with the ledgers in `home`."""

    def run(out: str, *, watcher: Watcher | None = None, **changes) -> Simulation:
        close_sites(Path(tiny_settings(out).runtime.out))
        named = {name.replace("__", ".").replace("_", "-"): value for name, value in changes.items()}
        fixed = {"runtime.ledgers": str(home), "federation.num-server-rounds": 2}
        return simulate(tiny_settings(out, fixed | named), observer=watcher)

    return run


def spent(home: Path, partition_id: int) -> float:
    ledger = read_ledger(home / "ledgers" / f"client-{partition_id}.jsonl")
    return epsilon_pld(ledger.mechanisms(), ledger.genesis.delta)


def test_the_second_run_starts_from_what_the_first_spent_and_the_budget_ends_the_third(run, home):
    first = run("one", privacy__target_epsilon=4.0)
    after_one = spent(home, 0)
    assert first.report.verified
    assert 3.9 < after_one <= 4.0
    assert first.report.epsilon == pytest.approx(after_one, rel=1e-6)

    second = run("two")
    after_two = spent(home, 0)
    assert second.report.verified
    assert after_one < after_two <= 8.0
    assert second.report.epsilon == pytest.approx(after_two, rel=1e-6)
    ledger = read_ledger(home / "ledgers" / "client-0.jsonl")
    assert len({body.run for body in ledger.reservations()}) == 2
    assert len({m.noise_multiplier for m in ledger.mechanisms()}) == 2

    with pytest.raises(RoundFailed, match=r"no client took part in round 1.*(budget|filter|spent)"):
        run("three", privacy__noise_multiplier=0.5)
    assert spent(home, 0) == after_two


def test_the_run_folder_keeps_copies_that_can_be_audited_alone(run, home, tmp_path):
    simulation = run("one", privacy__target_epsilon=4.0)
    for partition_id in (0, 1):
        name = f"ledgers/client-{partition_id}.jsonl"
        assert (simulation.folder.root / name).read_bytes() == (home / name).read_bytes()
    for name in ("log.jsonl", "checkpoint", "key.pub"):
        copy = simulation.folder.root / "server" / name
        assert copy.read_bytes() == (home / "server" / name).read_bytes()
    assert not (simulation.folder.root / "keys").exists()
    assert sorted(path.name for path in (home / "keys").iterdir()) == [
        "client-0.key",
        "client-0.salt",
        "client-1.key",
        "client-1.salt",
        "server.key",
    ]


def test_an_older_copy_of_a_ledger_does_not_get_the_budget_back(run, home):
    run("one", privacy__target_epsilon=3.0)
    older = (home / "ledgers" / "client-0.jsonl").read_bytes()
    run("two", privacy__target_epsilon=4.0)
    (home / "ledgers" / "client-0.jsonl").write_bytes(older)
    watcher = Watcher()
    run("three", watcher=watcher, privacy__target_epsilon=5.0)
    (reason,) = watcher.refused_to_join
    assert "for which it has a receipt" in reason or "lacks its entry" in reason
    assert [list(outcome.updates) for outcome in watcher.outcomes] == [[1], [1]]


def test_a_lost_ledger_is_not_begun_anew(run, home):
    run("one", privacy__target_epsilon=3.0)
    (home / "ledgers" / "client-0.jsonl").unlink()
    watcher = Watcher()
    run("two", watcher=watcher, privacy__target_epsilon=4.0)
    (reason,) = watcher.refused_to_join
    assert "client-0.jsonl is missing: put it back, it alone says what this client has spent" in reason
    assert not (home / "ledgers" / "client-0.jsonl").exists()


def test_a_new_ledger_in_place_of_a_spent_one_is_recognised(run, home, monkeypatch):
    run("one", privacy__target_epsilon=3.0)
    salt = load_salt(home / "keys" / "client-0.salt")
    for name in ("ledgers/client-0.jsonl", "keys/client-0.key", "keys/client-0.salt"):
        (home / name).unlink()
    monkeypatch.setattr("client.ledgers.new_salt", lambda: salt)
    watcher = Watcher()
    run("two", watcher=watcher, privacy__target_epsilon=4.0)
    (reason,) = watcher.refused_to_join
    assert "second one for the key or data" in reason


def test_other_data_needs_the_owners_word_and_keeps_what_was_spent(run, home):
    run("one", privacy__target_epsilon=3.0)
    before = spent(home, 0)
    with pytest.raises(RoundFailed, match=r"ledger of other examples.*privacy\.amend-ledgers = true"):
        run("two", runtime__seed=5)
    again = run("three", runtime__seed=5, privacy__amend_ledgers=True, privacy__target_epsilon=4.0)
    assert again.report.verified
    ledger = read_ledger(home / "ledgers" / "client-0.jsonl")
    assert sum(isinstance(entry.body, Amend) for entry in ledger.entries) == 1
    assert before < spent(home, 0) <= 4.0
    assert len(set(ledger.commitments)) == 2


def test_the_terms_of_a_ledger_are_for_life(run):
    run("one", privacy__target_epsilon=3.0)
    with pytest.raises(RoundFailed, match="for life"):
        run("two", privacy__epsilon=20.0)
    with pytest.raises(RoundFailed, match="fixed settings"):
        run("three", privacy__accounting="fixed")


def test_fixed_ledgers_may_outlive_runs_too_and_then_keep_their_noise(run, home):
    run("one", privacy__accounting="fixed", privacy__noise_multiplier=2.0)
    run("two", privacy__accounting="fixed")
    ledger = read_ledger(home / "ledgers" / "client-0.jsonl")
    assert ledger.genesis.filter_order is None
    assert {m.noise_multiplier for m in ledger.mechanisms()} == {2.0}
    assert sum(isinstance(entry.body, Reserve) for entry in ledger.entries) == 4


def test_a_stopped_run_goes_on_with_its_ledgers(run, home, tmp_path):
    stopped = run("one", watcher=Watcher(stop_after=1))
    whole = resume(stopped.folder.root)
    assert whole.state.round == 2
    assert whole.report.verified
    assert spent(home, 0) <= 8.0
    (home / "ledgers" / "client-1.jsonl").unlink()
    with pytest.raises(LedgerError, match=r"client-1\.jsonl is missing"):
        resume(stopped.folder.root)


def test_a_file_is_no_folder_for_ledgers(run, home):
    home.write_text("not a folder")
    with pytest.raises(ConfigError, match="is a file: choose a folder for --ledgers"):
        run("one")


def test_a_run_inside_its_own_home_is_one_folder(tiny_settings):
    config = tiny_settings("both", {"runtime.ledgers": tiny_settings("both").runtime.out})
    simulation = simulate(config)
    assert simulation.report.verified
    record = json.loads((simulation.folder.root / "report.json").read_text())
    assert record["verified"]
    with pytest.raises((ConfigError, CheckpointError), match="holds a run"):
        simulate(config)
