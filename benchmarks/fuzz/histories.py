"""True ledgers and server logs, the same on every machine: their keys and numbers are fixed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common import canonical
from common.ledger import Abort, Acknowledged, Amend, Genesis, Release, Reserve, SigningKey
from common.ledger.entries import Body, KeyRotate
from common.ledger.lines import NO_PREVIOUS, line_hash, write_line
from common.ledger.receipts import HeldCheckpoint, Receipt, SignedReceipt
from common.privacy.mechanisms import (
    DiscreteLaplace,
    Gaussian,
    Laplace,
    Mechanism,
    PoissonGaussian,
    Unprotected,
)
from common.transparency.identity import log_name
from common.transparency.leaves import Enrolment, LoggedHead, LoggedRound, leaf_to_json
from common.transparency.merkle import MerkleTree
from common.transparency.note import Checkpoint, sign_checkpoint


def fixed_key(name: str) -> SigningKey:
    """Return a private key that anyone can make again: it protects nothing."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest()))


def digest(name: str) -> str:
    """Return 64 hexadecimal digits."""
    return hashlib.sha256(name.encode()).hexdigest()


FIRST, SECOND, THIRD, SERVER, STRANGER = map(fixed_key, ("first", "second", "third", "server", "stranger"))
KEYS = {key.public: key for key in (FIRST, SECOND, THIRD, SERVER, STRANGER)}
ORIGIN = log_name(SERVER.public)


@dataclass(kw_only=True)
class Log:
    """A server's log in memory, with a checkpoint for each size."""

    lines: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    tree: MerkleTree = field(default_factory=MerkleTree)

    def append(self, leaf: Enrolment | SignedReceipt | LoggedRound | LoggedHead) -> HeldCheckpoint:
        """Add a leaf and sign the new state."""
        line = canonical.dumps(leaf_to_json(leaf))
        self.lines.append(line.decode("ascii"))
        self.tree.append(line)
        state = Checkpoint(origin=ORIGIN, size=self.tree.size, root=self.tree.root())
        self.notes.append(sign_checkpoint(state, SERVER, ORIGIN))
        signature = SERVER.sign_raw(state.text.encode())
        return HeldCheckpoint(size=state.size, root=state.root.hex(), signature=signature)


@dataclass(kw_only=True)
class Scribe:
    """Writes one true ledger, and what its server notes of it."""

    name: str
    key: SigningKey = FIRST
    log: Log = field(default_factory=Log)
    lines: list[str] = field(default_factory=list)
    budget: float | None = 8.0
    order: float | None = None

    def __post_init__(self) -> None:
        self.ledger_id = digest(self.name)
        self.add(
            Genesis(
                ledger_id=self.ledger_id,
                public_key=self.key.public,
                delta=1e-5,
                budget_epsilon=self.budget,
                filter_order=self.order,
                num_examples=100,
                commitment=digest(f"{self.name} data"),
            )
        )

    def add(self, body: Body) -> int:
        """Append an entry and return its number."""
        previous = line_hash(self.lines[-1]) if self.lines else NO_PREVIOUS
        sequence = len(self.lines)
        self.lines.append(write_line(body, sequence=sequence, previous=previous, key=self.key))
        return sequence

    def reserve(self, number: int, *mechanisms: Mechanism, run: str = "run-1") -> int:
        """Append a charge for a round."""
        return self.add(
            Reserve(
                run=run,
                round=number,
                purpose="train",
                mechanisms=mechanisms or (TRAINING,),
                max_grad_norm=None if mechanisms else 1.0,
                normaliser=Fraction(100, 3),
                sampler="poisson",
                noise_source="chacha20",
                input_model=digest(f"model {number}"),
                server_nonce=digest(f"nonce {number}"),
                code_digest=digest("code"),
                libraries={"opacus": "1.6.0", "torch": "2.5"},
            )
        )

    def release(self, number: int, reserve: int, run: str = "run-1") -> int:
        """Append what left under a charge."""
        return self.add(Release(run=run, round=number, reserve=reserve, update=digest(f"update {number}")))

    def abort(self, number: int, reserve: int, run: str = "run-1") -> int:
        """Append the end of a charge under which nothing left."""
        return self.add(Abort(run=run, round=number, reserve=reserve, reason="out-of-memory"))

    def confirm(self, release: int, number: int, run: str = "run-1") -> int:
        """Append the server's receipt."""
        receipt = self.receipt(release, number, run)
        return self.add(Acknowledged(release=release, receipt=receipt, checkpoint=self.log.append(receipt)))

    def receipt(self, release: int, number: int, run: str = "run-1") -> SignedReceipt:
        """Return the server's receipt for a release."""
        return Receipt(
            origin=ORIGIN,
            server_key=SERVER.public,
            index=len(self.log.lines),
            ledger_id=self.ledger_id,
            sequence=release,
            entry=line_hash(self.lines[release]),
            run=run,
            round=number,
        ).sign(SERVER)

    def rotate(self, key: SigningKey) -> int:
        """Hand the ledger to another key."""
        sequence = self.add(KeyRotate.to(key, self.ledger_id, len(self.lines)))
        self.key = key
        return sequence

    def enrol(self) -> None:
        """Let the server note the ledger, and a round."""
        self.log.append(
            Enrolment(
                ledger_id=self.ledger_id,
                partition_id=0,
                genesis=line_hash(self.lines[0]),
                public_key=FIRST.public,
                commitment=digest(f"{self.name} data"),
                num_examples=100,
            )
        )

    def end(self, run: str = "run-1") -> None:
        """Let the server note a round, and how far the ledger is."""
        self.log.append(LoggedRound(run=run, round=1, record=digest("round")))
        head = LoggedHead(
            run=run, ledger_id=self.ledger_id, entries=len(self.lines), head=line_hash(self.lines[-1])
        )
        self.log.append(head)


TRAINING = PoissonGaussian(noise_multiplier=1.25, sample_rate=Fraction(1, 5), num_steps=3)
OTHERS = (
    Gaussian(noise_multiplier=40.0, num_steps=1),
    Laplace(noise_multiplier=12.5, num_steps=2),
    DiscreteLaplace(noise_multiplier=3.0, num_steps=1),
    Unprotected(num_steps=1),
)


def _rounds(scribe: Scribe) -> Scribe:
    """Three rounds: released, aborted, open."""
    scribe.release(1, scribe.reserve(1))
    scribe.abort(2, scribe.reserve(2))
    scribe.reserve(3)
    return scribe


def _confirmed(scribe: Scribe) -> Scribe:
    """A round with a receipt."""
    scribe.enrol()
    scribe.confirm(scribe.release(1, scribe.reserve(1)), 1)
    scribe.end()
    return scribe


def _amended(scribe: Scribe) -> Scribe:
    """The data set grows; all kinds of noise; two charges open at a time."""
    first = scribe.reserve(1, *OTHERS[:3])
    scribe.add(Amend(num_examples=120, commitment=digest("more data")))
    second = scribe.reserve(1, OTHERS[3], run="run-2")
    scribe.release(1, second, run="run-2")
    scribe.abort(1, first)
    return scribe


def _rotated(scribe: Scribe) -> Scribe:
    """A release whose receipt comes after the key has changed; then the key changes again."""
    scribe.enrol()
    released = scribe.release(1, scribe.reserve(1))
    scribe.rotate(SECOND)
    scribe.confirm(released, 1)
    scribe.rotate(THIRD)
    scribe.reserve(2)
    scribe.end()
    return scribe


def _long(scribe: Scribe) -> Scribe:
    """Two runs with everything in them."""
    _confirmed(scribe)
    scribe.add(Amend(num_examples=90, commitment=digest("less data")))
    second = scribe.release(2, scribe.reserve(2, TRAINING, OTHERS[0]))
    scribe.rotate(SECOND)
    scribe.abort(1, scribe.reserve(1, run="run-2"), run="run-2")
    scribe.confirm(second, 2)
    scribe.end("run-2")
    return scribe


def histories() -> tuple[Scribe, ...]:
    """Return true ledgers, short ones first; two share a key, and two a ledger's identity."""
    makers: Iterable[tuple[Callable[[Scribe], Scribe], Scribe]] = (
        (lambda scribe: scribe, Scribe(name="begun")),
        (_rounds, Scribe(name="rounds")),
        (_confirmed, Scribe(name="confirmed")),
        (_confirmed, Scribe(name="confirmed", key=SECOND)),
        (_amended, Scribe(name="amended", order=12.5)),
        (_rotated, Scribe(name="rotated", budget=None)),
        (_long, Scribe(name="long")),
    )
    return tuple(make(scribe) for make, scribe in makers)
