"""What the parts of one client's spending would cost by themselves.

Parts do not add up: epsilons compose, and their sum overstates the whole. Nor is the cost of one run alone
a claim, since whoever sees the other runs too learns from all of them together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from common.audit.history import Charge, ClientLedger
from common.privacy.accounting import epsilon_upper_bound
from common.privacy.mechanisms import Mechanism, merge, to_json


@dataclass(frozen=True, kw_only=True)
class RunSpending:
    """What one run charged to a ledger.

    Args:
        run: the run's id.
        charges: RESERVE entries of the run.
        rounds: different rounds among them.
        steps: noisy steps that they permit.
        epsilon: what these charges would cost if there were no others; no claim. A bound, at most 0.05 % too
            high.
    """

    run: str
    charges: int
    rounds: int
    steps: int
    epsilon: float


@dataclass(frozen=True, kw_only=True)
class MechanismSpending:
    """What one way of computing charged to a ledger.

    Args:
        purpose: what the computation was for, as recorded.
        mechanism: its type, as in the ledger.
        noise_multiplier: as in the ledger, None without noise.
        sample_rate: chance of each record in a step, as a fraction; None where all records take part.
        charges: RESERVE entries that hold it.
        steps: noisy steps in all of them.
        epsilon: what these steps would cost if there were no others; no claim. A bound, at most 0.05 % too
            high.
    """

    purpose: str
    mechanism: str
    noise_multiplier: str | None
    sample_rate: str | None
    charges: int
    steps: int
    epsilon: float


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """The spending of the client that spent most, taken apart.

    Args:
        partition_id: that client, None where no ledger is readable.
        epsilon: of all its charges together, which is not the sum of the parts.
        runs: in the order in which they began.
        mechanisms: in the order in which they were first used.
    """

    partition_id: int | None
    epsilon: float
    runs: tuple[RunSpending, ...]
    mechanisms: tuple[MechanismSpending, ...]


def most_spent(epsilons: Sequence[float]) -> int | None:
    """Return the index of the largest epsilon, the first of equals; None without any."""
    return max(range(len(epsilons)), key=epsilons.__getitem__, default=None)


def break_down(ledgers: Sequence[ClientLedger], epsilons: Sequence[float]) -> Breakdown:
    """Take apart what the client with the largest epsilon spent.

    Args:
        epsilons: of every ledger, in the same order.
    """
    most = most_spent(epsilons)
    if most is None:
        return Breakdown(partition_id=None, epsilon=0.0, runs=(), mechanisms=())
    ledger, total = ledgers[most], epsilons[most]
    return Breakdown(
        partition_id=ledger.partition_id,
        epsilon=total,
        runs=spending_by_run(ledger, total),
        mechanisms=spending_by_mechanism(ledger, total),
    )


def spending_by_run(ledger: ClientLedger, total: float) -> tuple[RunSpending, ...]:
    """Return what each run would have cost without the others.

    Args:
        total: epsilon of the whole ledger, which no part exceeds.
    """
    cost = _cost_of_parts(ledger, total)
    runs: dict[str, list[Charge]] = {}
    for charge in ledger.charges:
        runs.setdefault(charge.body.run, []).append(charge)
    return tuple(
        RunSpending(
            run=run,
            charges=len(charges),
            rounds=len({charge.body.round for charge in charges}),
            steps=sum(m.num_steps for charge in charges for m in charge.body.mechanisms),
            epsilon=cost(m for charge in charges for m in charge.body.mechanisms),
        )
        for run, charges in runs.items()
    )


def spending_by_mechanism(ledger: ClientLedger, total: float) -> tuple[MechanismSpending, ...]:
    """Return what each purpose and setting of noise and sampling would have cost without the others.

    Args:
        total: epsilon of the whole ledger, which no part exceeds.
    """
    cost = _cost_of_parts(ledger, total)
    parts: dict[_Kind, list[Mechanism]] = {}
    for charge in ledger.charges:
        for mechanism in charge.body.mechanisms:
            parts.setdefault(_kind(charge, mechanism), []).append(mechanism)
    return tuple(
        MechanismSpending(
            purpose=kind.purpose,
            mechanism=kind.mechanism,
            noise_multiplier=kind.noise_multiplier,
            sample_rate=kind.sample_rate,
            charges=len(mechanisms),
            steps=sum(mechanism.num_steps for mechanism in mechanisms),
            epsilon=cost(mechanisms),
        )
        for kind, mechanisms in parts.items()
    )


@dataclass(frozen=True, kw_only=True)
class _Kind:
    purpose: str
    mechanism: str
    noise_multiplier: str | None
    sample_rate: str | None


def _kind(charge: Charge, mechanism: Mechanism) -> _Kind:
    fields = to_json(mechanism)
    rate = fields.get("sample_rate")
    return _Kind(
        purpose=charge.body.purpose,
        mechanism=fields["type"],
        noise_multiplier=fields.get("noise_multiplier"),
        sample_rate="/".join(map(str, rate)) if rate else None,
    )


def _cost_of_parts(ledger: ClientLedger, total: float) -> Callable[[Iterable[Mechanism]], float]:
    whole, delta = ledger.mechanisms(), ledger.view.genesis.delta

    def cost(mechanisms: Iterable[Mechanism]) -> float:
        part = merge(mechanisms)
        return total if part == whole else min(epsilon_upper_bound(part, delta), total)

    return cost
