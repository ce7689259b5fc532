"""Inputs that are kept: one for each thing that was reached, made small, with what has to become of it."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.fuzz.case import Case, Outcome, Target, Violation
from benchmarks.fuzz.engine import Tally, judge

MOST_KEPT = 250
_MOST_BYTES = 8_000
_MOST_TRIALS = 250


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An input, and what has to become of it."""

    case: Case
    verdict: str
    why: str
    entry: int | None


def select(tally: Tally, target: Target) -> list[Kept]:
    """Return what a study reached, each by its smallest input, made smaller still."""
    chosen: dict[tuple[str, tuple[bytes, ...]], Kept] = {}
    for feature, (case, outcome) in tally.kept.items():
        small = _smallest(target, case, outcome, feature)
        if small.size > _MOST_BYTES or len(chosen) >= MOST_KEPT:
            continue
        entry = judge(target, small).entry
        kept = Kept(case=small, verdict=outcome.verdict, why=outcome.why, entry=entry)
        chosen.setdefault((small.kind, small.parts), kept)
    return list(chosen.values())


def _smallest(target: Target, case: Case, outcome: Outcome, feature: Hashable) -> Case:
    trials = 0
    case = _fewest_signed(target, case, outcome, feature)
    shrinking = True
    while shrinking and trials < _MOST_TRIALS:
        shrinking = False
        for smaller in _smaller(case):
            trials += 1
            if _same(target, smaller, outcome, feature):
                case, shrinking = smaller, True
                break
            if trials >= _MOST_TRIALS:
                break
    return case


def _fewest_signed(target: Target, case: Case, outcome: Outcome, feature: Hashable) -> Case:
    text = b"\n".join(case.parts).decode("utf-8", "replace")
    for signed in (frozenset[str](), frozenset(line for line in case.signed if line in text)):
        smaller = replace(case, signed=signed)
        if _same(target, smaller, outcome, feature):
            return smaller
    return case


def _same(target: Target, case: Case, outcome: Outcome, feature: Hashable) -> bool:
    try:
        again = judge(target, case)
    except (Violation, ValueError, KeyError, TypeError):
        return False
    same = (again.verdict, again.why) == (outcome.verdict, outcome.why)
    return same and feature in {(case.kind, reached) for reached in again.features}


def _smaller(case: Case) -> Iterator[Case]:
    """Yield inputs without some lines, then without some bytes."""
    for at, part in enumerate(case.parts):
        for shorter in (*_without_lines(part), *_without_bytes(part)):
            yield replace(case, parts=(*case.parts[:at], shorter, *case.parts[at + 1 :]))


def _without_lines(data: bytes) -> Iterator[bytes]:
    lines = data.split(b"\n")
    for count in (len(lines) // 2, len(lines) // 4, 1):
        for start in range(len(lines) - count, -1, -max(1, count)):
            if count and len(lines) > 1:
                yield b"\n".join(lines[:start] + lines[start + count :])


def _without_bytes(data: bytes) -> Iterator[bytes]:
    for size in (len(data) // 2, len(data) // 4, len(data) // 8, len(data) // 16):
        for start in range(len(data) - size, -1, -max(1, size)):
            if size:
                yield data[:start] + data[start + size :]


def save(kept: list[Kept], path: Path) -> None:
    """Write a corpus as one JSON file, in which each line of any input stands once."""
    lines: dict[str, int] = {}
    cases = [
        {
            "kind": item.case.kind,
            "verdict": item.verdict,
            "why": item.why,
            "entry": item.entry,
            "parts": [_numbers(part.decode("latin-1"), lines) for part in item.case.parts],
            "signed": [number for text in sorted(item.case.signed) for number in [_numbers(text, lines)]],
        }
        for item in kept
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ",\n".join(json.dumps(case) for case in cases)
    table = ",\n".join(json.dumps(line) for line in lines)
    path.write_text(f'{{"cases":[\n{rows}\n],\n"lines":[\n{table}\n]}}\n', encoding="ascii")


def load(path: Path) -> list[Kept]:
    """Read what `save` wrote."""
    content = json.loads(path.read_text(encoding="ascii"))
    lines: list[str] = content["lines"]
    return [_kept(value, lines) for value in content["cases"]]


def _kept(value: dict[str, Any], lines: list[str]) -> Kept:
    parts = ("\n".join(lines[number] for number in numbers) for numbers in value["parts"])
    signed = ("\n".join(lines[number] for number in numbers) for numbers in value["signed"])
    case = Case(
        kind=value["kind"], parts=tuple(part.encode("latin-1") for part in parts), signed=frozenset(signed)
    )
    return Kept(case=case, verdict=value["verdict"], why=value["why"], entry=value["entry"])


def _numbers(text: str, lines: dict[str, int]) -> list[int]:
    return [lines.setdefault(line, len(lines)) for line in text.split("\n")]
