"""Whether two reports of the same records agree."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_SAME_PROGRAM = 1e-6
OTHER_PROGRAM = 1e-3
"""Shares by which figures may differ: transforms round differently on machines, bounds between versions."""

_SMALLEST = 1e-9

_FIGURES = (
    "run",
    "stamp",
    "epsilon",
    "epsilon_rdp",
    "epsilon_unamplified",
    "epsilon_by_round",
    "delta",
    "accuracy",
    "rounds",
    "clients",
    "mechanism",
    "model_hash",
)
"""What another version of the program must agree on, as far as its report says it."""


def same_program(first: Mapping[str, Any], second: Mapping[str, Any]) -> bool:
    """Say whether one version of the program, with the same libraries, made both reports."""
    return all(first.get(name) == second.get(name) for name in ("code_digest", "versions"))


def first_difference(recomputed: Mapping[str, Any], recorded: Mapping[str, Any]) -> str:
    """Return the name of the first field that differs, such as "clients.0.epsilon"; empty where none does.

    Args:
        recomputed: a report in the form of report.json.
        recorded: an earlier one, which may come from another version of the program.
    """
    if same_program(recomputed, recorded):
        return _whole(dict(recomputed), recorded, "", _SAME_PROGRAM)
    for name in _FIGURES:
        if name in recomputed and name in recorded:
            place = _shared(recomputed[name], recorded[name], name, OTHER_PROGRAM)
            if place:
                return place
    return ""


def _whole(first: Any, second: Any, place: str, tolerance: float) -> str:
    """Compare all that either has."""
    if isinstance(first, dict) and isinstance(second, Mapping):
        names = [*first, *(name for name in second if name not in first)]
        pairs = {name: (first.get(name, _Absent), second.get(name, _Absent)) for name in names}
        found = (_whole(a, b, _below(place, name), tolerance) for name, (a, b) in pairs.items())
        return next(filter(None, found), "")
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        found = (
            _whole(a, b, _below(place, str(number)), tolerance)
            for number, (a, b) in enumerate(zip(first, second, strict=True))
        )
        return next(filter(None, found), "")
    return "" if _equal(first, second, tolerance) else place or "form"


def _shared(first: Any, second: Any, place: str, tolerance: float) -> str:
    """Compare what both have."""
    if isinstance(first, dict) and isinstance(second, Mapping):
        common = {name: second[name] for name in first if name in second}
        return _whole({name: first[name] for name in common}, common, place, tolerance)
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        found = (
            _shared(a, b, f"{place}.{number}", tolerance)
            for number, (a, b) in enumerate(zip(first, second, strict=True))
        )
        return next(filter(None, found), "")
    return _whole(first, second, place, tolerance)


class _Absent:
    """Stands for a field that one of two reports lacks."""


def _below(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name


def _equal(first: Any, second: Any, tolerance: float) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (first, second))
    if numbers and isinstance(first, float):
        return math.isclose(first, second, rel_tol=tolerance, abs_tol=_SMALLEST)
    return type(first) is type(second) and bool(first == second)
