"""The same targets and laws, with atheris (libFuzzer) choosing by lines of code what to mutate further."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, cast

from benchmarks.fuzz.case import Case, Target, Violation
from benchmarks.fuzz.engine import judge
from benchmarks.fuzz.targets import open_target

_BETWEEN = b"\xff\xfe\xff"
_INSTRUMENTED = ["common.ledger", "common.transparency", "common.config", "common.privacy", "common.messages"]


def run_guided(name: str, cases: int, seed: int) -> int:
    """Run one study under atheris; it does not return where libFuzzer ends the process.

    Raises:
        SystemExit: when atheris is not installed.
    """
    try:
        atheris: Any = importlib.import_module("atheris")
    except ModuleNotFoundError:
        sys.exit("--guide coverage needs atheris: pip install atheris")
    with atheris.instrument_imports(include=_INSTRUMENTED), open_target(name) as target:
        guided = _Guided(target, cases)
        with tempfile.TemporaryDirectory() as folder:
            for number, case in enumerate(target.seeds()):
                (Path(folder) / str(number)).write_bytes(pack(case))
            runs = cases + len(target.seeds()) + 2
            options = [f"-runs={runs}", f"-seed={seed + 1}", "-max_len=64000", "-verbosity=0"]
            atheris.Setup(["fuzz", *options, folder], guided.one, custom_mutator=guided.mutate)
            atheris.Fuzz()
    return 0


class _Guided:
    """What atheris calls: once to change an input, once to read it."""

    def __init__(self, target: Target, cases: int) -> None:
        self._target = target
        self._cases = cases
        self._seeds = target.seeds()
        self._signed: set[str] = set()
        self._judged = self._accepted = 0
        self._bugs: dict[str, str] = {}

    def mutate(self, data: bytes, max_size: int, seed: int) -> bytes:
        """Return an input that differs."""
        random = Random(seed)
        case = unpack(data) or random.choice(self._seeds)
        mates = [other for other in self._seeds if other.kind == case.kind]
        mutant = self._target.mutate(case, random.choice(mates), random)
        packed = pack(mutant)
        if len(packed) > max_size:
            return data
        self._signed |= mutant.signed
        return packed

    def one(self, data: bytes) -> None:
        """Judge an input, and print what was seen after the last."""
        case = unpack(data)
        if case is not None:
            # The targets only look things up in it: a copy for every case would take longer than the case.
            self._judge(Case(kind=case.kind, parts=case.parts, signed=cast("frozenset[str]", self._signed)))
        self._judged += 1
        if self._judged == self._cases:
            self._end()

    def _judge(self, case: Case) -> None:
        try:
            self._accepted += judge(self._target, case).verdict == "accepted"
        except Violation as violation:
            self._bugs.setdefault(f"{violation!s:.90}", f"{case.kind} {violation}: {case.parts!r:.2000}")

    def _end(self) -> None:
        """Print, and end here: libFuzzer's own end runs nothing of ours."""
        print(f"{self._judged} cases, accepted {self._accepted}, laws broken {len(self._bugs)}")
        print("\n".join(self._bugs.values()), flush=True)
        stop: Callable[[int], object] = os._exit
        stop(1 if self._bugs else 0)


def pack(case: Case) -> bytes:
    """Write an input as the one string of bytes that atheris knows."""
    return _BETWEEN.join((case.kind.encode(), *case.parts))


def unpack(data: bytes) -> Case | None:
    """Read what `pack` wrote, or return None for other bytes."""
    kind, *parts = data.split(_BETWEEN)
    sizes = {b"log": 2}
    if len(parts) != sizes.get(kind, 1) or kind not in _KINDS:
        return None
    return Case(kind=kind.decode(), parts=tuple(parts))


_KINDS = {b"ledger", b"log", b"note", b"key", b"receipt", b"delivery", b"file", b"assignments", b"layers"}
