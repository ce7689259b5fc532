"""The kinds of entries in a ledger.

Nothing that depends on a record's content (batch sizes drawn, losses, times) has a field to stand in.
`entry_json` gives them their form in JSON; docs/ledger-format.md describes it for strangers.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Self

from common import canonical
from common.ledger.keys import KEY, SigningKey, verify
from common.ledger.receipts import HeldCheckpoint, SignedReceipt
from common.privacy.mechanisms import Mechanism

ADJACENCY = "zero-out"
NOISE_SOURCES = ("chacha20", "reproducible", "none")


@dataclass(frozen=True, kw_only=True)
class Genesis:
    """A ledger's beginning: what is fixed for the data set's life.

    Args:
        ledger_id: random identity, 64 hexadecimal digits.
        public_key: Ed25519 key of the client, 32 bytes.
        delta: of every epsilon of this data set.
        budget_epsilon: lifetime limit, or None where training without privacy is permitted.
        filter_order: None promises that every charge uses one noise multiplier and one sample rate, so
            that plain composition holds. A number is the Renyi order at which a filter enforces the budget,
            whatever settings are chosen in view of earlier results (`privacy.filter`).
        num_examples: public size n of the data set.
        commitment: SHA-256 (hex) that fixes the data set without telling anything of it (`commitment`).
    """

    ledger_id: str
    public_key: bytes
    delta: float
    budget_epsilon: float | None
    filter_order: float | None
    num_examples: int
    commitment: str

    @classmethod
    def new(
        cls,
        key: SigningKey,
        *,
        delta: float,
        budget_epsilon: float | None,
        num_examples: int,
        commitment: str,
        filter_order: float | None = None,
    ) -> Self:
        """Begin a ledger with a fresh identity."""
        return cls(
            ledger_id=secrets.token_hex(32),
            public_key=key.public,
            delta=delta,
            budget_epsilon=budget_epsilon,
            filter_order=filter_order,
            num_examples=num_examples,
            commitment=commitment,
        )


@dataclass(frozen=True, kw_only=True)
class Amend:
    """The data set grew or shrank. What its old records spent stays spent, for the new ones too."""

    num_examples: int
    commitment: str


@dataclass(frozen=True, kw_only=True)
class Reserve:
    """A charge, written before the first record is touched; it stays, released or not.

    Args:
        run: the run's id.
        round: the round, from 1.
        purpose: what the computation is for.
        mechanisms: all that may be run on the records.
        max_grad_norm: clip of one record's gradient, or None without privacy.
        normaliser: public number that sums are divided by, n times q.
        sampler: how batches are drawn.
        noise_source: one of NOISE_SOURCES.
        input_model: SHA-256 (hex) of the model that training starts from.
        server_nonce: the server's number (64 hexadecimal digits) for this round and ledger: a charge
            that names it was made after it was given.
        code_digest: SHA-256 (hex) over the program's source.
        libraries: versions of what computes.
    """

    run: str
    round: int
    purpose: str
    mechanisms: tuple[Mechanism, ...]
    max_grad_norm: float | None
    normaliser: Fraction
    sampler: str
    noise_source: str
    input_model: str
    server_nonce: str
    code_digest: str
    libraries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Release:
    """What left the client under a charge: the SHA-256 (hex) of the update."""

    run: str
    round: int
    reserve: int
    update: str


@dataclass(frozen=True, kw_only=True)
class Abort:
    """A charge whose result will not leave; the charge stays all the same."""

    run: str
    round: int
    reserve: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Acknowledged:
    """The server's receipt for a RELEASE (entry type RECEIPT), and its log's state that holds the receipt.

    Args:
        release: number of the RELEASE in this ledger.
    """

    release: int
    receipt: SignedReceipt
    checkpoint: HeldCheckpoint


@dataclass(frozen=True, kw_only=True)
class KeyRotate:
    """A new key, which signs every later entry; this entry is signed by the old one.

    Args:
        public_key: the new key, 32 bytes.
        proof: the new key's own signature over the change, 64 bytes: nobody can name another's key.
    """

    public_key: bytes
    proof: bytes

    @classmethod
    def to(cls, key: SigningKey, ledger_id: str, sequence: int) -> Self:
        """Change to a key, in the entry with number `sequence` of a ledger."""
        payload = _change_of_key(ledger_id, sequence)
        return cls(public_key=key.public, proof=key.sign(payload, KEY))

    def proven(self, ledger_id: str, sequence: int) -> bool:
        """Say whether the new key agreed to this very change."""
        return verify(self.public_key, _change_of_key(ledger_id, sequence), self.proof, KEY)


Body = Genesis | Amend | Reserve | Release | Abort | Acknowledged | KeyRotate


def _change_of_key(ledger_id: str, sequence: int) -> bytes:
    return canonical.dumps({"ledger_id": ledger_id, "sequence": sequence})
