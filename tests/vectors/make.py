"""Write the test vectors of docs/ledger-format.md: `python -m tests.vectors.make`.

Every key comes from a fixed seed and Ed25519 is deterministic, so the files are the same bit for bit on every
machine; a test compares them, so that the format cannot change unnoticed.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common import canonical
from common.ledger import (
    Abort,
    Acknowledged,
    Amend,
    Body,
    Genesis,
    KeyRotate,
    Release,
    Reserve,
    SigningKey,
)
from common.ledger.commitment import commit
from common.ledger.keys import KEY, RECEIPT, fingerprint, pre_authentication_encoding
from common.ledger.lines import NO_PREVIOUS, line_hash, write_line
from common.ledger.receipts import Receipt, SignedReceipt
from common.privacy.noise import DiscreteLaplace, Gaussian, Laplace, PoissonGaussian, Unprotected
from common.transparency.held import hold
from common.transparency.leaves import Enrolment, Leaf, LoggedHead, LoggedRound, leaf_to_json
from common.transparency.merkle import MerkleTree, leaf_hash
from common.transparency.note import Checkpoint, sign_checkpoint, verifier_key
from tests.vectors import damage

HERE = Path(__file__).parent


def key_of(seed: int) -> SigningKey:
    """Return the key whose private half is 32 equal bytes."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32))


SEEDS = {"first": 1, "second": 2, "server": 3, "stranger": 4}
KEYS = {name: key_of(seed) for name, seed in SEEDS.items()}
ORIGIN = f"fedledger.server/{fingerprint(KEYS['server'].public)}"
SALT = bytes(range(32))
RUN = "20260101-120000-folder"


def digest(name: str) -> str:
    """Return a hash that stands for something of this name."""
    return hashlib.sha256(name.encode()).hexdigest()


def commitment(name: str, num_examples: int) -> str:
    """Return the commitment to a data set whose digest stands for this name."""
    return commit(salt=SALT, digest=bytes.fromhex(digest(name)), num_examples=num_examples)


@dataclass
class Writer:
    """Builds a ledger, and the server's log beside it."""

    key: SigningKey = KEYS["first"]
    lines: list[str] = field(default_factory=list)
    leaves: list[str] = field(default_factory=list)
    ledger_id: str = ""

    @property
    def head(self) -> str:
        """The hash that the next entry names as previous."""
        return line_hash(self.lines[-1]) if self.lines else NO_PREVIOUS

    def add(self, body: Body, key: SigningKey | None = None) -> int:
        """Append an entry and return its number."""
        line = write_line(body, sequence=len(self.lines), previous=self.head, key=key or self.key)
        self.lines.append(line)
        return len(self.lines) - 1

    def begin(self, **changes: Any) -> None:
        """Write the GENESIS."""
        terms: dict[str, Any] = {
            "ledger_id": digest("ledger"),
            "public_key": self.key.public,
            "delta": 1e-5,
            "budget_epsilon": 8.0,
            "filter_order": None,
            "num_examples": 100,
            "commitment": commitment("records", 100),
        }
        genesis = Genesis(**(terms | changes))
        self.ledger_id = genesis.ledger_id
        self.add(genesis)

    def reserve(self, number: int, **changes: Any) -> int:
        """Write a charge and return its number."""
        return self.add(charge(number, **changes))

    def release(self, number: int, reserve: int) -> int:
        """Write a release and return its number."""
        return self.add(Release(run=RUN, round=number, reserve=reserve, update=digest(f"update {number}")))

    def log(self, leaf: Leaf) -> int:
        """Append a leaf to the server's log and return its number."""
        self.leaves.append(canonical.dumps(leaf_to_json(leaf)).decode())
        return len(self.leaves) - 1

    def note(self) -> tuple[str, Checkpoint]:
        """Return the log's checkpoint, signed, and what it states."""
        tree = MerkleTree(leaf.encode() for leaf in self.leaves)
        checkpoint = Checkpoint(origin=ORIGIN, size=tree.size, root=tree.root())
        return sign_checkpoint(checkpoint, KEYS["server"], ORIGIN), checkpoint

    def receipt(self, release: int, number: int, **changes: Any) -> SignedReceipt:
        """Return the server's receipt for a release."""
        stated: dict[str, Any] = {
            "origin": ORIGIN,
            "server_key": KEYS["server"].public,
            "index": len(self.leaves),
            "ledger_id": self.ledger_id,
            "sequence": release,
            "entry": line_hash(self.lines[release]),
            "run": RUN,
            "round": number,
        }
        return Receipt(**(stated | changes)).sign(KEYS["server"])

    def acknowledged(self, release: int, signed: SignedReceipt) -> Acknowledged:
        """Return a receipt with the state of the log, which by now holds it."""
        note, checkpoint = self.note()
        held = hold(note, checkpoint, KEYS["server"].public)
        return Acknowledged(release=release, receipt=signed, checkpoint=held)

    def confirm(self, release: int, number: int) -> None:
        """Log a receipt and write it into the ledger."""
        signed = self.receipt(release, number)
        self.log(signed)
        self.add(self.acknowledged(release, signed))

    def rotate(self, key: SigningKey) -> None:
        """Hand the ledger to another key."""
        self.add(KeyRotate.to(key, self.ledger_id, len(self.lines)))
        self.key = key


def charge(number: int, **changes: Any) -> Reserve:
    """Return a charge of 3 steps at noise multiplier 1.25 and sample rate 1/5."""
    fields: dict[str, Any] = {
        "run": RUN,
        "round": number,
        "purpose": "train",
        "mechanisms": (PoissonGaussian(noise_multiplier=1.25, sample_rate=Fraction(1, 5), num_steps=3),),
        "max_grad_norm": 1.0,
        "normaliser": Fraction(20),
        "sampler": "poisson",
        "noise_source": "chacha20",
        "input_model": digest(f"model {number - 1}"),
        "server_nonce": digest(f"nonce {number}"),
        "code_digest": digest("code"),
        "libraries": {"dp-accounting": "0.6.0", "torch": "2.14.1+cpu"},
    }
    return Reserve(**(fields | changes))


def every_kind() -> Writer:
    """Return a ledger that holds every kind of entry, and the log of its server."""
    writer = Writer()
    writer.begin()
    genesis = line_hash(writer.lines[0])
    writer.log(
        Enrolment(
            ledger_id=writer.ledger_id,
            partition_id=0,
            genesis=genesis,
            public_key=writer.key.public,
            commitment=commitment("records", 100),
            num_examples=100,
        )
    )
    writer.confirm(writer.release(1, writer.reserve(1)), 1)
    writer.log(LoggedRound(run=RUN, round=1, record=digest("round 1")))
    statistics = (
        Gaussian(noise_multiplier=40.0, num_steps=2),
        DiscreteLaplace(noise_multiplier=50.0, num_steps=10),
    )
    aborted = writer.reserve(2, purpose="statistics", mechanisms=statistics, sampler="all")
    writer.add(Abort(run=RUN, round=2, reserve=aborted, reason="out-of-memory"))
    writer.add(Amend(num_examples=90, commitment=commitment("fewer records", 90)))
    noise = (Laplace(noise_multiplier=0.000001, num_steps=1),)
    before = writer.reserve(3, mechanisms=noise, max_grad_norm=0.1, normaliser=Fraction(7, 3))
    writer.rotate(KEYS["second"])
    writer.confirm(writer.release(3, before), 3)
    writer.reserve(4)
    writer.log(LoggedHead(run=RUN, ledger_id=writer.ledger_id, entries=len(writer.lines), head=writer.head))
    return writer


def without_privacy() -> Writer:
    """Return a ledger of a data set that training without noise is permitted on."""
    writer = Writer()
    writer.begin(budget_epsilon=None)
    plain = (Unprotected(num_steps=200),)
    writer.reserve(1, mechanisms=plain, max_grad_norm=None, noise_source="none", libraries={})
    return writer


def adaptive() -> Writer:
    """Return a ledger whose settings may change, with numbers that are hard to write."""
    writer = Writer()
    writer.begin(delta=5e-324, budget_epsilon=1e22, filter_order=12.5, num_examples=2**53 - 1)
    for number, noise in enumerate((0.1 + 0.2, 1 / 3, 123456789.125), start=1):
        rate = Fraction(number, 2**53 - 1)
        steps = (PoissonGaussian(noise_multiplier=noise, sample_rate=rate, num_steps=number),)
        writer.reserve(number, mechanisms=steps, noise_source="reproducible")
    return writer


def ledgers() -> dict[str, Writer]:
    """Return the good ledgers by name."""
    return {"every-kind": every_kind(), "without-privacy": without_privacy(), "adaptive": adaptive()}


def facts(writer: Writer) -> dict[str, Any]:
    """Return what a verifier must find in a good ledger."""
    return {
        "entries": len(writer.lines),
        "head": writer.head,
        "public_key": base64.b64encode(writer.key.public).decode(),
        "fingerprint": fingerprint(writer.key.public),
        "types": [json.loads(line)["entry"]["type"] for line in writer.lines],
    }


def log_of(writer: Writer) -> dict[str, Any]:
    """Return the server's log with its checkpoint, and proofs over it."""
    tree = MerkleTree(leaf.encode() for leaf in writer.leaves)
    return {
        "origin": ORIGIN,
        "verifier_key": verifier_key(ORIGIN, KEYS["server"].public),
        "lines": writer.leaves,
        "leaf_hashes": [leaf_hash(leaf.encode()).hex() for leaf in writer.leaves],
        "roots": [tree.root(size).hex() for size in range(tree.size + 1)],
        "checkpoint": writer.note()[0],
        "inclusion_of_leaf_1": [step.hex() for step in tree.inclusion_proof(1)],
        "consistency_from_2": [step.hex() for step in tree.consistency_proof(2)],
    }


def signed_bytes(writer: Writer) -> dict[str, str]:
    """Return the bytes that signatures are made over, in hex."""
    entry = writer.lines[0].removeprefix('{"entry":').rpartition(',"signature":')[0]
    receipt = canonical.dumps(writer.receipt(2, 1).receipt.to_json())
    change = canonical.dumps({"ledger_id": writer.ledger_id, "sequence": 8})
    return {
        "entry 0 of every-kind": pre_authentication_encoding(entry.encode()).hex(),
        "a receipt": pre_authentication_encoding(receipt, RECEIPT).hex(),
        "a change of key in entry 8": pre_authentication_encoding(change, KEY).hex(),
    }


def shortened(variant: damage.Variant, lines: list[str]) -> dict[str, Any]:
    """Return a damaged ledger as the first `keep` lines of every-kind.jsonl and the text `then`."""
    keep = 0
    while keep < len(lines) and variant.text.startswith("".join(f"{line}\n" for line in lines[: keep + 1])):
        keep += 1
    then = variant.text[sum(len(line) + 1 for line in lines[:keep]) :]
    stated = {"name": variant.name, "flaw": variant.flaw, "entry": variant.entry}
    return stated | {"keep": keep, "then": then}


def content(damaged: Mapping[str, Any]) -> bytes:
    """Return the bytes of a damaged ledger of vectors.json."""
    kept = (HERE / "every-kind.jsonl").read_bytes().splitlines(keepends=True)[: damaged["keep"]]
    return b"".join(kept) + str(damaged["then"]).encode()


def vectors(written: Mapping[str, Writer]) -> dict[str, Any]:
    """Return everything that goes into vectors.json."""
    whole = written["every-kind"]
    return {
        "format": "fedledger/1",
        "keys": {
            name: {
                "private_seed": (bytes([SEEDS[name]]) * 32).hex(),
                "public_key": base64.b64encode(key.public).decode(),
                "fingerprint": fingerprint(key.public),
            }
            for name, key in KEYS.items()
        },
        "ledgers": {f"{name}.jsonl": facts(writer) for name, writer in written.items()},
        "signed_bytes": signed_bytes(whole),
        "commitment": {
            "salt": SALT.hex(),
            "digest": digest("records"),
            "num_examples": 100,
            "commitment": commitment("records", 100),
        },
        "log": log_of(whole),
        "damaged": [shortened(variant, whole.lines) for variant in damage.variants(whole.lines, KEYS)],
    }


def files() -> dict[str, str]:
    """Return the content of every vector file by name."""
    written = ledgers()
    texts = {f"{name}.jsonl": "".join(f"{line}\n" for line in w.lines) for name, w in written.items()}
    return texts | {"vectors.json": json.dumps(vectors(written), indent=1) + "\n"}


if __name__ == "__main__":
    for name, text in files().items():
        (HERE / name).write_text(text, encoding="utf-8")
