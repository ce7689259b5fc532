"""Hold the server's log against ledgers and rounds: it remembers what their owners might want to forget."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from common.audit.findings import Finding, error, note, warning
from common.audit.history import ClientLedger
from common.audit.records import RunRecords
from common.audit.server_records import DamagedLog, ServerRecords
from common.ledger import Genesis, KeyRotate, LedgerView
from common.ledger.receipts import SignedReceipt
from common.transparency.leaves import Enrolment, LoggedHead
from common.words import counted

LOG = "server/log.jsonl"
_ROUNDS = "rounds.jsonl"


@dataclass(frozen=True, kw_only=True)
class Sighting:
    """An entry that somebody saw in a ledger, so that it must be there for ever after.

    Args:
        sequence: number of the entry.
        entry: SHA-256 (hex) of its line.
        witness: who saw it, in words.
        where: file and place that say so.
    """

    sequence: int
    entry: str
    witness: str
    where: str


def check_log(records: RunRecords, ledgers: Sequence[ClientLedger], run: str) -> Iterator[Finding]:
    """Yield where the log, or the run's last saved state, knows otherwise than ledgers and rounds say."""
    yield from _second_ledgers(records, ledgers)
    match records.server:
        case DamagedLog():
            text = f"The server's log was changed after it was signed: {records.server.reason}."
            yield error("log-damaged", text, LOG)
        case ServerRecords():
            yield from _own(records.server)
            yield from _enrolments(records.server, ledgers)
            yield from _missing_ledgers(records, records.server, run)
            yield from _rounds(records, records.server, run)
        case None:
            yield from _no_log(records, ledgers)
    sightings = _sightings(records.server, ledgers)
    for ledger in ledgers:
        yield from check_sightings(
            ledger, [*sightings.get(ledger.partition_id, ()), *_saved(records, ledger)]
        )


def check_sightings(ledger: ClientLedger, sightings: Iterable[Sighting]) -> Iterator[Finding]:
    """Yield the last entry that a ledger lacks, or the first one in whose place another one stands."""
    entries = ledger.view.entries
    ordered = sorted(sightings, key=lambda sighting: sighting.sequence)
    who = f"The ledger of client {ledger.partition_id}"
    if ordered and (last := ordered[-1]).sequence >= len(entries):
        yield error(
            "ledger-rollback",
            f"{who} ends with entry {len(entries) - 1}, but {last.witness} saw its entry {last.sequence}: "
            "what was spent since is missing.",
            f"{ledger.at(len(entries) - 1)} and {last.where}",
        )
    for seen in ordered:
        if seen.sequence < len(entries) and entries[seen.sequence].hash != seen.entry:
            yield error(
                "ledger-fork",
                f"{who} has another entry {seen.sequence} than {seen.witness} saw: it was written anew from "
                "there or before.",
                f"{ledger.at(seen.sequence)} and {seen.where}",
            )
            return


def _no_log(records: RunRecords, ledgers: Sequence[ClientLedger]) -> Iterator[Finding]:
    if records.subject == "ledger" or (records.subject == "ledgers" and not _is_home(records)):
        return
    if any(ledger.receipts() for ledger in ledgers):
        yield error(
            "log-missing",
            "The ledgers hold receipts of a server, but the server's log is not there to hold them against.",
            LOG,
        )
    else:
        yield note(
            "log-missing",
            "There is no server's log, so nothing shows whether entries at the end of a ledger are missing.",
            LOG,
        )


def _is_home(records: RunRecords) -> bool:
    return any(place.startswith("ledgers/") for place in records.places.values())


def _own(server: ServerRecords) -> Iterator[Finding]:
    surplus = server.view.surplus
    if surplus:
        yield error(
            "log-unsigned-tail",
            f"The server's log ends with {counted(surplus, 'line')} that nobody signed. After a crash they "
            "are cut off when the run is resumed; otherwise somebody added them.",
            f"{LOG} leaf {len(server.view.lines)}",
        )


def _enrolments(server: ServerRecords, ledgers: Iterable[ClientLedger]) -> Iterator[Finding]:
    by_ledger = {leaf.ledger_id: leaf for _, leaf in server.of_kind(Enrolment)}
    by_client = {leaf.partition_id: leaf for _, leaf in server.of_kind(Enrolment)}
    for ledger in ledgers:
        genesis = ledger.view.genesis
        own = by_ledger.get(genesis.ledger_id)
        who = f"The ledger in the place of client {ledger.partition_id}"
        if own is not None and own.partition_id != ledger.partition_id:
            text = f"{who} is the one with which client {own.partition_id} joined the federation."
            yield error("ledger-swapped", text, ledger.place)
        elif own is None and ledger.partition_id in by_client:
            text = f"{who} is not the one with which that client joined the federation."
            yield error("ledger-swapped", text, ledger.place)
        elif own is None:
            text = f"Client {ledger.partition_id} has a ledger that never joined the federation."
            yield error("enrolment-missing", text, ledger.place)
        elif own.genesis != ledger.view.entries[0].hash:
            yield error(
                "ledger-fork",
                f"The ledger of client {ledger.partition_id} begins otherwise than when the client joined: "
                "it was written anew from the beginning.",
                ledger.at(0),
            )


def _second_ledgers(records: RunRecords, ledgers: Iterable[ClientLedger]) -> Iterator[Finding]:
    """Yield ledgers that share a key or a data set: budgets would be counted once and spent twice."""
    owners: dict[str, str] = {}
    marked = [(ledger.view.genesis.ledger_id, _marks(ledger.view), ledger.place) for ledger in ledgers]
    if isinstance(records.server, ServerRecords):
        for index, leaf in records.server.of_kind(Enrolment):
            key = base64.b64encode(leaf.public_key).decode("ascii")
            marked.append((leaf.ledger_id, [key, leaf.commitment], f"{LOG} leaf {index}"))
    named: set[str] = set()
    for identity, marks, where in marked:
        others = {owners.setdefault(mark, identity) for mark in marks} - {identity}
        if others and identity not in named:
            named.add(identity)
            yield error(
                "second-ledger",
                f"Two ledgers ({min(others)[:12]} and {identity[:12]}) belong to one key or one data set, "
                "which was therefore spent from twice.",
                where,
            )


def _marks(view: LedgerView) -> list[str]:
    """Return what no two ledgers may share: every key and every commitment that a ledger ever had."""
    keys = [e.body.public_key for e in view.entries if isinstance(e.body, Genesis | KeyRotate)]
    return [base64.b64encode(key).decode("ascii") for key in keys] + list(view.commitments)


def _missing_ledgers(records: RunRecords, server: ServerRecords, run: str) -> Iterator[Finding]:
    """Yield ledgers that the log knows to have taken part, and that no other finding misses."""
    present = {view.genesis.ledger_id for view in records.ledgers.values()}
    if records.subject == "log":
        return
    named = {ledger.partition_id for ledger in records.damaged} | set(records.ledgers)
    named |= {client for entry in records.rounds for client in (*entry.participants, *entry.updates)}
    whole = records.subject != "run"
    concerned = {leaf.ledger_id for _, leaf in server.of_kind(LoggedHead) if leaf.run == run}
    concerned |= {
        leaf.receipt.ledger_id for _, leaf in server.of_kind(SignedReceipt) if leaf.receipt.run == run
    }
    for index, leaf in {leaf.ledger_id: (index, leaf) for index, leaf in server.of_kind(Enrolment)}.values():
        here = leaf.ledger_id in present or leaf.partition_id in named
        if not here and (whole or leaf.ledger_id in concerned):
            text = f"Client {leaf.partition_id} joined the federation, but no ledger of that client is there."
            yield error("ledger-missing", text, f"{LOG} leaf {index}")


def _rounds(records: RunRecords, server: ServerRecords, run: str) -> Iterator[Finding]:
    logged = server.last_rounds(run)
    for entry, digest in zip(records.rounds, records.round_hashes, strict=True):
        where = f"{_ROUNDS} round {entry.round}"
        if entry.round not in logged:
            text = f"Round {entry.round} is not in the server's log, so it was added afterwards."
            yield error("round-not-in-log", text, where)
        elif logged[entry.round][1].record != digest:
            text = f"What is told of round {entry.round} is not what the server logged when it was over."
            yield error("round-differs", text, where)
    if records.subject == "run":
        yield from _missing_rounds({entry.round for entry in records.rounds}, server, run)


def _missing_rounds(told: set[int], server: ServerRecords, run: str) -> Iterator[Finding]:
    """Yield logged rounds that are not told; a crash may leave one, the last, in an unfinished run."""
    logged = server.last_rounds(run)
    for number in sorted(logged.keys() - told):
        index, _ = logged[number]
        crash = number == max(told, default=0) + 1 and not server.ended_after(run, index)
        kind = warning if crash else error
        text = f"The server logged round {number}, but {_ROUNDS} does not tell of it."
        yield kind("round-missing", text, f"{LOG} leaf {index}")


def _sightings(
    server: ServerRecords | DamagedLog | None, ledgers: Iterable[ClientLedger]
) -> Mapping[int, list[Sighting]]:
    """Return what the log saw of each ledger, by client."""
    found: dict[int, list[Sighting]] = {}
    if not isinstance(server, ServerRecords):
        return found
    clients = {ledger.view.genesis.ledger_id: ledger.partition_id for ledger in ledgers}
    for index, leaf in server.leaves.items():
        match leaf:
            case SignedReceipt():
                identity, place = leaf.receipt.ledger_id, (leaf.receipt.sequence, leaf.receipt.entry)
            case LoggedHead():
                identity, place = leaf.ledger_id, (leaf.entries - 1, leaf.head)
            case _:
                continue
        if identity in clients:
            sighting = Sighting(
                sequence=place[0], entry=place[1], witness="the server's log", where=f"{LOG} leaf {index}"
            )
            found.setdefault(clients[identity], []).append(sighting)
    return found


def _saved(records: RunRecords, ledger: ClientLedger) -> Iterator[Sighting]:
    known = records.known.get(ledger.partition_id)
    if known is not None:
        yield Sighting(
            sequence=known.entries - 1,
            entry=known.head,
            witness="the run's last saved state",
            where="checkpoint/state.json",
        )
