"""What a run left behind, compared: ledgers at the clients, the server's log, the run folder, the audit."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faults.fleet import Fleet
from common.ledger import Abort, LedgerView, Release, Reserve, read_ledger
from common.run_folder import RunFolder
from tests.command_line import run_command


@dataclass
class Count:
    """What was found; `flaws` says each thing that must not be in words."""

    figures: Counter[str] = field(default_factory=Counter)
    flaws: list[str] = field(default_factory=list)

    def flaw(self, figure: str, words: str) -> None:
        self.figures[figure] += 1
        self.flaws.append(f"{figure}: {words}")


def check_run(fleet: Fleet, folder: RunFolder) -> Count:
    """Compare what a finished run left with the ledgers at its clients."""
    count = Count()
    run = json.loads((folder.checkpoint / "state.json").read_text())["run"]
    rounds = list(lines_of(folder.rounds))
    for number in range(len(fleet.clients)):
        ledger = read_ledger(fleet.home(number).ledger(number))
        _check_used(count, ledger, run, rounds, number)
        _check_answered(count, fleet, ledger, run, folder, number)
        _check_charges(count, ledger, run, number)
        _check_receipts(count, fleet, ledger, number)
        _check_kept(count, fleet, ledger, number)
    _count_rounds(count, folder, rounds)
    audited = run_command("audit", str(folder.root))
    count.figures["audits"] += 1
    if audited.status != 0:
        count.flaw("audits that found something", f"{folder.root.name}: {audited.out[-1500:]}{audited.err}")
    return count


def _check_used(count: Count, ledger: LedgerView, run: str, rounds: list[Any], number: int) -> None:
    """Every update that went into a model has its release, and so its charge, on the client's own disk."""
    released = {(b.run, b.round, b.update) for e in ledger.entries if isinstance(b := e.body, Release)}
    for line in rounds:
        update = line["updates"].get(str(number))
        if update is None:
            continue
        count.figures["updates used"] += 1
        if (run, line["round"], update) not in released:
            count.flaw("charges lost", f"client {number}, round {line['round']} of {run}: used, not released")


def _check_answered(
    count: Count, fleet: Fleet, ledger: LedgerView, run: str, folder: RunFolder, number: int
) -> None:
    """Every update that a client says it answered with was released before."""
    runs = {n for n, root in fleet.state.folders_of_runs().items() if root == str(folder.root)}
    released = {b.round for e in ledger.entries if isinstance(b := e.body, Release) and b.run == run}
    for line in lines_of(fleet.clients[number].log):
        if line.get("run_id") in runs and line.get("answer") == "update":
            count.figures["updates handed over"] += 1
            if int(line["group"]) not in released:
                count.flaw("charges lost", f"client {number}, round {line['group']} of {run}: answered")


def _check_charges(count: Count, ledger: LedgerView, run: str, number: int) -> None:
    """Sort this run's charges: released, aborted, neither; and those of one round."""
    closed = {b.reserve: type(b) for e in ledger.entries if isinstance(b := e.body, Release | Abort)}
    same: dict[tuple[int, str], list[int]] = defaultdict(list)
    for entry in ledger.entries:
        body = entry.body
        if not isinstance(body, Reserve) or body.run != run:
            continue
        ends = closed.get(entry.sequence)
        count.figures["charges"] += 1
        count.figures["charged and never released"] += ends is not Release
        count.figures["of these closed by an ABORT"] += ends is Abort
        before = same[body.round, body.input_model]
        if any(closed.get(sequence) is Release for sequence in before):
            count.flaw("double charges", f"client {number}, round {body.round} of {run}")
        elif before:
            count.figures["rounds charged again under fresh noise"] += 1
        before.append(entry.sequence)
    models = Counter(number for number, _ in same)
    for round_number, times in models.items():
        if times > 1:
            count.flaw("rounds of two models", f"client {number}, round {round_number} of {run}")


def _check_receipts(count: Count, fleet: Fleet, ledger: LedgerView, number: int) -> None:
    """Every receipt in the server's log is for an entry that the client's ledger holds."""
    own = {entry.hash for entry in ledger.entries}
    for leaf in lines_of(fleet.state.ledgers / "server" / "log.jsonl"):
        receipt = leaf.get("receipt", leaf) if leaf["type"] == "RECEIPT" else {}
        if receipt.get("ledger_id") == ledger.genesis.ledger_id and receipt["entry"] not in own:
            count.flaw("charges lost", f"client {number}: receipt for {receipt['entry'][:12]}, not in ledger")


def _check_kept(count: Count, fleet: Fleet, ledger: LedgerView, number: int) -> None:
    """Every finished update on disk was charged before."""
    charged = {
        hashlib.sha256(f"{b.run}\0{b.round}\0{b.input_model}".encode()).hexdigest()
        for e in ledger.entries
        if isinstance(b := e.body, Reserve)
    }
    for path in (fleet.home(number).root / "updates").glob("*.safetensors"):
        if path.stem not in charged:
            count.flaw("charges lost", f"client {number}: {path.name} is kept and was not charged")


def _count_rounds(count: Count, folder: RunFolder, rounds: list[Any]) -> None:
    """Count rounds done, begun again, without a model change, and clients that were left out of one."""
    begun: Counter[int] = Counter()
    cohort: dict[int, int] = {}
    for event in lines_of(folder.progress):
        if event["event"] == "round-started":
            begun[event["round"]] += 1
            cohort[event["round"]] = event["cohort"]
    count.figures["rounds"] += len(rounds)
    count.figures["rounds done again"] += sum(times - 1 for times in begun.values())
    count.figures["rounds skipped"] += sum(not line["updates"] for line in rounds)
    count.figures["answers asked for"] += sum(cohort.get(line["round"], 0) for line in rounds)
    count.figures["answers missing"] += sum(
        max(0, cohort.get(line["round"], 0) - len(line["updates"])) for line in rounds
    )
    numbers = [line["round"] for line in rounds]
    if numbers != list(range(1, len(rounds) + 1)):
        count.flaw("rounds lost", f"{folder.root.name} holds rounds {numbers}")


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a file of lines; others, which a kill may leave, are passed over."""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value
