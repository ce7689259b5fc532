"""Verifying many ledgers at once, on every processor.

Each worker is a fresh interpreter that runs this module. A pool of `multiprocessing` would import the
caller's own program again in each worker, and so run an unguarded script twice.
"""

from __future__ import annotations

import gc
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from common.errors import LedgerError
from common.ledger.chain import LedgerView, read_ledger

FEW_LEDGERS = 100
"""Up to here starting workers takes longer than they save."""

Outcome = LedgerView | LedgerError


def read_many(files: Sequence[Path], *, workers: int | None = None) -> list[Outcome]:
    """Verify ledgers.

    Args:
        files: in any order, which the result keeps.
        workers: processes; by default one for each processor that this one may use, and none for a few files.

    Returns:
        For each file its ledger, without the text of its lines, or the error that says why it cannot be used.
    """
    if workers is None:
        workers = len(os.sched_getaffinity(0)) if len(files) > FEW_LEDGERS else 1
    if workers <= 1:
        return _read(files)
    parts = [files[first::workers] for first in range(workers)]
    with ThreadPoolExecutor(workers) as pool:
        outcomes = [iter(part) for part in pool.map(_read_apart, parts)]
    return [next(outcomes[number % workers]) for number in range(len(files))]


def _read(files: Sequence[Path]) -> list[Outcome]:
    return list(_outcomes(files))


def _outcomes(files: Sequence[Path]) -> Iterator[Outcome]:
    for file in files:
        try:
            yield replace(read_ledger(file), lines=())
        except LedgerError as error:
            yield error


def _read_apart(files: Sequence[Path]) -> list[Outcome]:
    """Let another process verify ledgers; where it cannot be had or dies, this one does."""
    path = os.pathsep.join(filter(None, sys.path))
    try:
        done = subprocess.run(  # noqa: S603 - this very module
            [sys.executable, "-m", __spec__.name],
            input=pickle.dumps([file.absolute() for file in files]),
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return _read(files)
    outcomes: list[Outcome] = pickle.loads(done.stdout)  # noqa: S301 - from our own worker
    return outcomes


def _work() -> None:
    gc.disable()  # nothing that is read goes away again
    files = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    pickle.dump(_read(files), sys.stdout.buffer, protocol=pickle.HIGHEST_PROTOCOL)


if __name__ == "__main__":
    _work()
