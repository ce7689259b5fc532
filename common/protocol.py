"""What servers and clients say to each other.

A reply carries arrays and ledger entries, never an epsilon: whoever wants to know one computes it from the
entries. `messages` gives these values their form on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.arrays import Arrays
from common.config import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What the server asks a client to compute; the client's own policy decides.

    Args:
        training: optimiser, sampling and steps of a round.
        private: False asks for training without clipping and noise.
        max_grad_norm: L2 clip of each record's gradient.
        noise_multiplier: noise over clip, or None to let the client spend its own budget evenly.
        planned_rounds: rounds of the run in which this client is asked to train.
    """

    training: TrainingSettings
    private: bool
    max_grad_norm: float
    noise_multiplier: float | None
    planned_rounds: int


@dataclass(frozen=True, kw_only=True)
class DescribeRequest:
    """Ask a client who it is; the answer holds public facts only."""

    run: str


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """Ask a client for one round of training from `arrays`.

    Args:
        known_entries: ledger entries that the server already holds; the reply continues from there.
    """

    run: str
    round: int
    arrays: Arrays
    proposal: Proposal
    known_entries: int


@dataclass(frozen=True, kw_only=True)
class Description:
    """A client's public facts: its partition, its size n and its whole ledger."""

    partition_id: int
    num_examples: int
    ledger_lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Update:
    """A released update (new weights minus received weights) and the ledger entries that charge it."""

    partition_id: int
    num_examples: int
    arrays: Arrays
    ledger_lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A client's reasoned no; `code` is that of the error tree."""

    partition_id: int
    code: str
    reason: str


Reply = Description | Update | Refusal
