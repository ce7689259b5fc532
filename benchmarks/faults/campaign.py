"""Cases, one after the other: several in a run, many runs on a fleet, every result written as it comes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.faults.checks import check_run, lines_of
from benchmarks.faults.fleet import Fleet, Operator, fleet
from benchmarks.faults.inject import Injector
from benchmarks.faults.plan import Case

_LOOK_SECONDS = 0.05
Result = dict[str, Any]


class Stuck(Exception):
    """A run did not go on after a fault."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a campaign is made.

    Args:
        folder: for fleets; kept where something is wrong.
        clients: of a fleet.
        net: third byte of a fleet's addresses; None has proxies instead of namespaces.
        rounds: of a run.
        timeout_seconds: of a round.
        runs_a_fleet: after which another fleet begins.
        patience_seconds: for the next round after a fault.
    """

    folder: Path
    clients: int = 3
    net: int | None = None
    rounds: int = 12
    timeout_seconds: float = 20.0
    runs_a_fleet: int = 12
    patience_seconds: float = 240.0


def campaign(cases: list[Case], options: Options, write: Callable[[Result], None]) -> None:
    """Go through all cases; what comes of each case and each run is written at once."""
    waiting, number = list(cases), 0
    while waiting:
        number += 1
        place = options.folder / f"fleet-{random.SystemRandom().randrange(16**6):06x}"
        place.mkdir(parents=True)
        with fleet(place, options.clients, options.net) as machines:
            for run in range(options.runs_a_fleet):
                if waiting and not Run(machines, place / f"run-{run}", options, write).go(waiting):
                    break


@dataclass
class Run:
    """One run of a fleet, with as many faults as it has rounds for."""

    fleet: Fleet
    out: Path
    options: Options
    write: Callable[[Result], None]
    results: list[Result] = field(default_factory=list)
    began: float = field(default_factory=time.time)

    def go(self, waiting: list[Case]) -> bool:
        """Inject cases, taken off `waiting`, until the run is done; say whether the fleet can go on."""
        self.operator = Operator(self.fleet, self.out, self.options.rounds, self.options.timeout_seconds)
        try:
            while waiting and self._wait(self._has_round_to_strike, "no round began"):
                self._try(waiting.pop(0))
            self._wait(lambda: self.operator.done, "the run did not end")
        except Stuck as stuck:
            self._report(completed=False, stuck=str(stuck))
            return False
        finally:
            self.operator.stop()
        self._report(completed=True)
        return True

    def _has_round_to_strike(self) -> bool:
        """Say whether a round has just begun that is not the last."""
        last = self._events()[-1:]
        return bool(last) and last[0]["event"] in ("round-started", "client-answered")

    def _try(self, case: Case) -> None:
        """Inject one fault and wait until the run has finished another round."""
        before = self._finished()
        client = self._target(case)
        injector = Injector(self.fleet, self.operator, lambda: self.operator.done)
        struck, moment = injector.strike(case, client)
        result = {"type": "case", **asdict(case), "client": client, "moment": moment, "run": str(self.out)}
        self.results.append(result)
        stuck: Stuck | None = None
        try:
            self._wait(lambda: self._finished_since(struck) or self.operator.done, f"after {case.kind}")
        except Stuck as found:
            stuck = found
        after = self._finished_since(struck)
        result["recovered_seconds"] = round(after[0] - struck, 2) if after else None
        result["rounds_before"] = len(before)
        self.write(result)
        if stuck is not None:
            raise stuck

    def _target(self, case: Case) -> int:
        """Return the client that is struck: one that took part in the last round, where there was one."""
        rounds = self.operator.folder.rounds
        last = list(lines_of(rounds))[-1:] if rounds.exists() else []
        present = last[0]["participants"] if last else []
        candidates = present or range(len(self.fleet.clients))
        return int(candidates[case.client % len(candidates)])

    def _wait(self, condition: Callable[[], object], otherwise: str) -> bool:
        """Wait for a condition and say whether it came before the end of the run."""
        end = time.monotonic() + self.options.patience_seconds
        while not condition():
            if self.operator.done:
                return False
            if time.monotonic() > end:
                raise Stuck(otherwise)
            time.sleep(_LOOK_SECONDS)
        return True

    def _events(self) -> list[Result]:
        path = self.operator.folder.progress
        return list(lines_of(path)) if path.exists() else []

    def _finished(self) -> list[float]:
        return [event["time"] for event in self._events() if event["event"] == "round-finished"]

    def _finished_since(self, moment: float) -> list[float]:
        return [at for at in self._finished() if at > moment]

    def _report(self, *, completed: bool, stuck: str = "") -> None:
        result: Result = {
            "type": "run",
            "run": str(self.out),
            "completed": completed,
            "stuck": stuck,
            "faults": len(self.results),
            "commands": self.operator.commands,
            "statuses": self.operator.statuses,
            "seconds": round(time.time() - self.began, 1),
            "links": self.fleet.links[0].kind,
        }
        if completed:
            count = check_run(self.fleet, self.operator.folder)
            result |= {"figures": dict(count.figures), "flaws": count.flaws}
        self.write(result)


def results_in(path: Path) -> list[Result]:
    """Return what was written of runs that were compared; others were broken off with their campaign."""
    results = list(lines_of(path)) if path.exists() else []
    compared = {result["run"] for result in results if result["type"] == "run"}
    return [result for result in results if result["run"] in compared]
