"""Run a campaign of faults, or go on with one.

    python -m benchmarks.faults --cases 200 --seed 1 --out faults.json

Each result is appended to faults.jsonl as it comes; the same command again goes on with the cases that are
missing there. Several campaigns, each with its own seed, may run at the same time and write to one file.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.faults.campaign import Options, Result, campaign, results_in
from benchmarks.faults.figures import figures_of, in_words
from benchmarks.faults.links import namespaces_allowed
from benchmarks.faults.plan import cases_of
from benchmarks.page import in_words as machine_in_words
from benchmarks.page import machine, write_section


def main() -> None:
    """Run what the command line asks for."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # ends what was started
    journal = arguments.out.with_suffix(".jsonl")
    done = {(r["seed"], r["number"]) for r in results_in(journal) if r["type"] == "case"}
    cases = cases_of(arguments.seed, arguments.cases)
    waiting = [case for case in cases if (case.seed, case.number) not in done]
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="faults-"))
    net = os.getpid() % 250 if arguments.links == "namespaces" else None

    def write(result: Result) -> None:
        with journal.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print(time.strftime("%X"), _shown(result), flush=True)

    facts = machine()
    if waiting:
        campaign(waiting, Options(folder=folder, net=net, rounds=arguments.rounds), write)
    results = results_in(journal)
    arguments.out.write_text(json.dumps({**facts, **figures_of(results)}, indent=1) + "\n")
    if arguments.page:
        write_section(arguments.page, "faults", _section(facts, results))
    print(in_words(figures_of(results)))
    if arguments.keep is None:
        shutil.rmtree(folder)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--keep", type=Path, help="Folder for all that the processes leave; else removed.")
    parser.add_argument("--out", type=Path, default=Path("faults.json"), help="Figures, FILE.json.")
    parser.add_argument("--page", type=Path, help="Page whose section of figures is written anew.")
    default = "namespaces" if namespaces_allowed() else "proxies"
    parser.add_argument("--links", choices=("namespaces", "proxies"), default=default)
    arguments = parser.parse_args()
    if arguments.out.suffix == ".jsonl":
        parser.error("--out is FILE.json: each result is kept in FILE.jsonl beside it")
    return arguments


def _section(facts: dict[str, Any], results: list[Result]) -> str:
    seeds = sorted({result["seed"] for result in results if result["type"] == "case"})
    figures = figures_of(results)
    head = (
        f"Written {machine_in_words(facts)}\n\n{figures['cases']} cases (seeds {', '.join(map(str, seeds))})"
    )
    return f"## Figures\n\n{head}, links by {' and '.join(figures['links'])}.\n\n{in_words(figures)}\n"


def _shown(result: Result) -> str:
    if result["type"] == "run":
        flaws = "; ".join(result.get("flaws", []))
        ended = result["stuck"] or f"done with {result['commands']} commands"
        return f"run {Path(result['run']).name}: {ended} in {result['seconds']} s {flaws}"
    return (
        f"case {result['number']} {result['kind']} ({result['variant']}, client {result['client']}; "
        f"{result['moment']}): {result['recovered_seconds']} s"
    )


if __name__ == "__main__":
    main()
