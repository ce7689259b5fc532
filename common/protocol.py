"""What servers and clients say to each other.

A reply carries arrays and ledger entries, never an epsilon: whoever wants to know one computes it from the
entries. `messages` gives these values their form on the wire.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.arrays import Arrays
from common.config import TrainingSettings
from common.errors import NoAnswer
from common.ledger.receipts import HeldCheckpoint, SignedReceipt


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What the server asks a client to compute; the client's own policy decides.

    Args:
        training: optimiser, sampling and steps of a round.
        private: False asks for training without clipping and noise.
        max_grad_norm: L2 clip of each record's gradient.
        noise_multiplier: noise over clip, or None to let the client spend its own budget evenly.
        target_epsilon: epsilon to which the run may bring a ledger, or None for the whole of its budget.
        planned_rounds: rounds of the run in which this client is asked to train.
    """

    training: TrainingSettings
    private: bool
    max_grad_norm: float
    noise_multiplier: float | None
    target_epsilon: float | None
    planned_rounds: int


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A receipt on its way to its client, with the proof that the server's log holds it.

    Args:
        proof: hashes (hex) that lead from the receipt's leaf to the checkpoint's root (RFC 6962, 2.1.1).
    """

    receipt: SignedReceipt
    checkpoint: HeldCheckpoint
    proof: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DescribeRequest:
    """Ask a client who it is; the answer holds public facts only.

    Args:
        known_entries: ledger entries that the server already holds; the reply continues from there.
        deliveries: receipts that the client has not stored yet.
        classes: names of the model's outputs, in order; empty where they are not in question.
        notice: why the client's last answer was not taken, for its own log; nothing is asked then.
    """

    run: str
    known_entries: int = 0
    deliveries: tuple[Delivery, ...] = ()
    classes: tuple[str, ...] = ()
    notice: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """Ask a client for one round of training from `arrays`.

    Args:
        correction: what is added to each noised gradient, shaped like `arrays`; None for nothing.
        server_nonce: 64 hexadecimal digits that nobody could know before; the charge names them.
        known_entries: ledger entries that the server already holds; the reply continues from there.
        deliveries: receipts that the client has not stored yet.
    """

    run: str
    round: int
    arrays: Arrays
    proposal: Proposal
    server_nonce: str
    known_entries: int
    deliveries: tuple[Delivery, ...] = ()
    correction: Arrays | None = None


@dataclass(frozen=True, kw_only=True)
class Description:
    """A client's public facts: its partition, its size n and its ledger from `known_entries` on.

    Args:
        presence: the proof that it holds the ledger's key: `common.ledger.presence`.
    """

    partition_id: int
    num_examples: int
    ledger_lines: tuple[str, ...]
    presence: bytes


@dataclass(frozen=True, kw_only=True)
class Update:
    """A released update (new weights minus received weights) and the ledger entries that charge it."""

    partition_id: int
    num_examples: int
    arrays: Arrays
    ledger_lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A client's reasoned no, or why there was no answer; `code` is that of the error tree."""

    partition_id: int
    code: str
    reason: str

    def said_of(self, name: str) -> str:
        """Return it as a line: a client that gave no answer was left out, and refused nothing."""
        return f"{name} {'left out' if self.code == NoAnswer.code else 'refused'}: {self.reason}"


Reply = Description | Update | Refusal
