"""The loop: mutate, read, judge; keep what reached something new; count."""

from __future__ import annotations

import hashlib
import signal
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from types import FrameType
from typing import NoReturn

from benchmarks.fuzz.case import Case, Outcome, Target, Violation

LIMIT_S = 10.0
"""Processor time that one input may take, in seconds; the slowest honest one takes a thousandth of it."""

_MOST_BUGS = 25
_MOST_MUTATED = 64_000


class _TooSlow(BaseException):
    """Not an Exception, so that no reader takes it for an error of its input."""


@dataclass(kw_only=True)
class Tally:
    """What was seen.

    Args:
        kinds: number of cases by (kind, verdict, why).
        words: number of cases by message.
        kept: by feature, the smallest input that reached it.
        bugs: by law and place, the smallest input that broke it, and how.
        slowest: processor seconds of the slowest case.
    """

    cases: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    kinds: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    words: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    kept: dict[Hashable, tuple[Case, Outcome]] = field(default_factory=dict)
    bugs: dict[str, tuple[Case, str]] = field(default_factory=dict)
    digest: str = ""

    def join(self, other: Tally) -> None:
        """Add what another worker saw."""
        self.cases += other.cases
        self.seconds = max(self.seconds, other.seconds)
        self.slowest = max(self.slowest, other.slowest)
        self.kinds += other.kinds
        self.words += other.words
        for feature, (case, outcome) in other.kept.items():
            self.keep(feature, case, outcome)
        self.bugs = other.bugs | self.bugs
        self.digest = hashlib.sha256((self.digest + other.digest).encode()).hexdigest()

    def keep(self, feature: Hashable, case: Case, outcome: Outcome) -> bool:
        """Keep an input if it is the smallest that reached a feature; say whether the feature is new."""
        known = self.kept.get(feature)
        if known is None or case.size < known[0].size:
            self.kept[feature] = (case, outcome)
        return known is None


class Study:
    """A reproducible series of cases against one target.

    Args:
        target: the readers under test.
        seed: fixes every case.
    """

    def __init__(self, target: Target, seed: str) -> None:
        self._target = target
        self._random = Random(seed)
        self._seeds = list(target.seeds())
        self._pool = list(self._seeds)
        self._digest = hashlib.sha256()
        self.tally = Tally()

    def run(self, cases: int, report: Callable[[Tally], None] | None = None, every: int = 50_000) -> Tally:
        """Judge the seeds and then that many mutants, and return what was seen."""
        started = time.monotonic()
        for seed in self._seeds:
            self._one(seed)
        self.tally.cases = 0
        while self.tally.cases < cases:
            self._one(self._next())
            if report and self.tally.cases % every == 0:
                self.tally.seconds = time.monotonic() - started
                report(self.tally)
        self.tally.seconds = time.monotonic() - started
        self.tally.digest = self._digest.hexdigest()
        return self.tally

    def _next(self) -> Case:
        """Mutate a true input as often as one that was found on the way."""
        base = self._random.choice(self._seeds if self._random.random() < 0.5 else self._pool)
        mates = [case for case in self._random.choices(self._pool, k=8) if case.kind == base.kind]
        mutant = self._target.mutate(base, mates[0] if mates else base, self._random)
        return mutant if mutant.size <= _MOST_MUTATED or self._random.random() < 0.05 else base

    def _one(self, case: Case) -> None:
        tally = self.tally
        tally.cases += 1
        started = time.process_time()
        try:
            outcome = judge(self._target, case)
        except Violation as violation:
            self._note_bug(case, violation)
            return
        finally:
            tally.slowest = max(tally.slowest, time.process_time() - started)
        self._digest.update(f"{outcome.verdict} {outcome.why} {outcome.entry}\n".encode())
        tally.kinds[case.kind, outcome.verdict, outcome.why] += 1
        tally.words[case.kind, outcome.verdict, outcome.words] += 1
        new = [tally.keep((case.kind, feature), case, outcome) for feature in outcome.features]
        if any(new) and case.size <= _MOST_MUTATED:
            self._pool.append(case)

    def _note_bug(self, case: Case, violation: Violation) -> None:
        bugs, key = self.tally.bugs, f"{case.kind} {violation!s:.90}"
        self.tally.kinds[case.kind, "BUG", violation.law] += 1
        smaller = key in bugs and case.size < bugs[key][0].size
        if smaller or (key not in bugs and len(bugs) < _MOST_BUGS):
            bugs[key] = (case, str(violation))


def judge(target: Target, case: Case) -> Outcome:
    """Judge a case; whatever else comes out of the reader is a violation too.

    Raises:
        Violation: names the law that was broken.
    """
    try:
        with _time_limit(LIMIT_S):
            return target.judge(case)
    except Violation:
        raise
    except _TooSlow as stop:
        raise Violation("no-hang", f"more than {LIMIT_S} s, in {stop}") from None
    except Exception as error:  # to find these is what this is for
        raise Violation("no-escape", f"{type(error).__name__} in {_where(error)}: {error!s:.80}") from error


def _where(error: BaseException) -> str:
    trace, place = error.__traceback__, "?"
    while trace is not None:
        if "/common/" in trace.tb_frame.f_code.co_filename:
            place = trace.tb_frame.f_code.co_qualname
        trace = trace.tb_next
    return place


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Stop what takes more processor time than this; other programs' load does not count."""

    def stop(_: int, frame: FrameType | None) -> NoReturn:
        raise _TooSlow(frame.f_code.co_qualname if frame else "?")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
