"""Feed hostile input to a reader: `python -m benchmarks.fuzz {ledger,log,config} --cases 1000000 --seed 0`.

The same seed, number of workers and Python give the same cases. Prints what became of them, and ends with 1
where a law was broken. `--keep FOLDER` writes the inputs that reached something new, for tests/fuzz.
`--guide coverage` lets atheris choose what to mutate (`pip install atheris`).
"""

from __future__ import annotations

import argparse
import resource
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.fuzz.corpus import save, select
from benchmarks.fuzz.engine import Study, Tally
from benchmarks.fuzz.targets import NAMES, open_target

_ROOM = 2**30
"""Bytes of memory that a worker may take beyond what it has when it starts."""


def main() -> int:
    """Run one study."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__)
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    parser.add_argument("--guide", choices=("outcomes", "coverage"), default="outcomes")
    arguments = parser.parse_args()
    if arguments.guide == "coverage":
        from benchmarks.fuzz.coverage import run_guided

        return run_guided(arguments.target, arguments.cases, arguments.seed)
    tally = _run(arguments.target, arguments.cases, arguments.seed, arguments.workers)
    print("\n".join(describe(arguments.target, tally)))
    if arguments.keep:
        with open_target(arguments.target) as target:
            save(select(tally, target), arguments.keep / f"{arguments.target}.json")
    return 1 if tally.bugs else 0


def _run(name: str, cases: int, seed: int, workers: int) -> Tally:
    shares = [cases // workers + (number < cases % workers) for number in range(workers)]
    jobs = [(name, share, f"{name} {seed} {number}") for number, share in enumerate(shares)]
    if workers == 1:
        return work(*jobs[0])
    with ProcessPoolExecutor(workers) as pool:
        first, *others = pool.map(work, *zip(*jobs, strict=True))
    for other in others:
        first.join(other)
    return first


def work(name: str, cases: int, seed: str) -> Tally:
    """Run one worker's share in bounded memory."""
    with open_target(name) as target:
        study = Study(target, seed)
        limit = _address_space() + _ROOM
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        return study.run(cases, _progress)


def _address_space() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[0]) * resource.getpagesize() if statm.exists() else 2**36


def _progress(tally: Tally) -> None:
    print(f"{tally.cases} cases, {tally.seconds:.0f} s, {len(tally.bugs)} bugs", file=sys.stderr, flush=True)


def describe(name: str, tally: Tally) -> list[str]:
    """Say what was seen, a line a figure."""
    counts = dict.fromkeys(("accepted", "refused", "BUG"), 0)
    for (_, verdict, _), number in tally.kinds.items():
        counts[verdict] += number
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    lines = [
        f"{name}: {tally.cases} cases in {tally.seconds:.0f} s, {tally.cases / tally.seconds:.0f} a second",
        f"accepted {counts['accepted']}, refused {counts['refused']}, laws broken {counts['BUG']}",
        f"distinct messages {len(tally.words)}, places and histories reached {len(tally.kept)}",
        f"slowest case {tally.slowest * 1000:.0f} ms, peak memory {peak:.0f} MiB",
        f"digest of all outcomes {tally.digest[:16]}",
    ]
    lines += [f"  {' '.join(key):<40} {number}" for key, number in sorted(tally.kinds.items())]
    for case, detail in tally.bugs.values():
        lines.append(f"BUG {case.kind} {detail:.300}: {[part[:2000] for part in case.parts]}")
    return lines


if __name__ == "__main__":
    sys.exit(main())
