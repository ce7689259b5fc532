"""Which faults a campaign injects: a function of its seed and nothing else."""

from __future__ import annotations

import random
from dataclasses import dataclass

VARIANTS: dict[str, tuple[str, ...]] = {
    "client-before-charge": ("client", "worker"),
    "client-after-charge": ("client", "worker"),
    "client-after-release": ("client", "worker"),
    "client-any-moment": ("client", "worker", "client-with-all-that-it-started"),
    "supernode": ("supernode",),
    "server": ("server", "server-with-all-that-it-started"),
    "superlink": ("superlink", "server-app"),
    "run-command": ("run-command",),
    "link-cut": ("one-link", "all-links"),
    "link-slow": ("one-link", "all-links"),
}
"""Kinds of faults, and what each may strike. Supervisor and gateway are one process of `fedledger server`."""

KINDS = tuple(VARIANTS)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One fault.

    Args:
        seed, number: by which it can be made again.
        kind: one of `KINDS`.
        variant: what is struck, of those that the kind has.
        client: the number that picks the client, for faults of one.
        wait_seconds: after the trigger, which is the start of a round unless the kind names another.
        lasts_seconds: of network faults.
    """

    seed: int
    number: int
    kind: str
    variant: str
    client: int
    wait_seconds: float
    lasts_seconds: float


def cases_of(seed: int, count: int) -> list[Case]:
    """Return a campaign's first cases: every kind once in each ten, in an order of the seed's."""
    cases = []
    for block in range(-(-count // len(KINDS))):
        order = random.Random(f"{seed}/order/{block}").sample(KINDS, len(KINDS))
        cases += [_case(seed, block * len(KINDS) + place, kind) for place, kind in enumerate(order)]
    return cases[:count]


def _case(seed: int, number: int, kind: str) -> Case:
    chance = random.Random(f"{seed}/case/{number}")
    return Case(
        seed=seed,
        number=number,
        kind=kind,
        variant=chance.choice(VARIANTS[kind]),
        client=chance.randrange(1000),
        wait_seconds=round(chance.uniform(0.0, 5.0), 3),
        lasts_seconds=round(chance.uniform(2.0, 9.0), 3),
    )
