"""The parts of a report as data: clients, rounds, mechanisms, accounting, and the server's log."""

from __future__ import annotations

from dataclasses import dataclass

from common.audit.standing import Accounting


@dataclass(frozen=True, kw_only=True)
class ClientReport:
    """What one client's ledger says, recomputed.

    Args:
        num_examples: n, public size of the client's data set.
        epsilon: PLD epsilon of every charge in the ledger at `delta`; infinite without protection.
        epsilon_exact: False where `epsilon` is a bound, at most 0.05 % above the PLD epsilon.
        epsilon_rdp: the same by RDP, an independent calculation; None where `epsilon` is a bound.
        epsilon_unamplified: the same if random batches did not help, so with sample rate 1.
        accounting: 'fixed' where `epsilon` is the guarantee, 'filter' where settings may change in view of
            earlier results and the budget is the guarantee, 'none' without protection.
        guarantee: the epsilon to rely on; infinite where there is none.
        steps: charged steps, over all runs.
        rounds: rounds of this run to which the client contributed.
        charges: RESERVE entries, over all runs.
        budget: lifetime epsilon, or None where the ledger sets none.
        head: SHA-256 of the ledger's last line.
        receipts: releases that the server countersigned.
        key_rotations: times that the signing key was replaced.
        amendments: times that the data set grew or shrank.
    """

    partition_id: int
    num_examples: int
    epsilon: float
    epsilon_exact: bool
    epsilon_rdp: float | None
    epsilon_unamplified: float
    accounting: Accounting
    guarantee: float
    delta: float
    steps: int
    rounds: int
    charges: int
    budget: float | None
    ledger_id: str
    entries: int
    head: str
    receipts: int
    key_rotations: int
    amendments: int


@dataclass(frozen=True, kw_only=True)
class RoundReport:
    """One completed round; `epsilon` is the largest over clients up to it."""

    round: int
    participants: int
    refused: int
    accuracy: float
    epsilon: float


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A client that gave nothing usable for one reason, as the server noted it.

    Args:
        partition_id: its number, as it or the server gave it; -1 where it gave none.
        code: the kind of reason.
        round: the first such round.
        times: how many rounds.
    """

    partition_id: int
    code: str
    reason: str
    round: int
    times: int


@dataclass(frozen=True, kw_only=True)
class MechanismReport:
    """What clients computed under protection, as recorded in their ledgers, distinct values only."""

    noise_multipliers: tuple[float, ...]
    sample_rates: tuple[str, ...]
    steps_per_round: tuple[int, ...]
    max_grad_norms: tuple[str, ...]
    normalisers: tuple[str, ...]
    samplers: tuple[str, ...]
    noise_sources: tuple[str, ...]
    code_digests: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class AccountingReport:
    """What the epsilons were computed with: claim and cross-check by one library, different mathematics."""

    library: str
    version: str
    claim: str
    cross_check: str
    neighbouring_relation: str


@dataclass(frozen=True, kw_only=True)
class LogReport:
    """The server's log, as its signed checkpoint states it.

    Args:
        origin: the log's name.
        key: the server's public key, in the form that other tools for signed notes take.
        size: number of leaves.
        root: root of the Merkle tree over them (hex).
        receipts: updates that it confirms, of any run.
    """

    origin: str
    key: str
    size: int
    root: str
    receipts: int
