"""How long an audit takes: `python -m benchmarks.audit_scale [--clients 10 1000] [--rounds 100]`.

Writes run folders with a charge, a release and a receipt for every client and round, signed and logged like
those of a true run, and audits them. In half of them every client has its own size and noise, so that no two
histories are equal.

On two cores of a virtual machine, 100 rounds: 10 clients take 0.7 s with equal and 1.9 s with different
histories; 1,000 clients (300,000 entries, 100,000 receipts) take 39 and 41 s, of which 25 to 28 s go into
verifying the ledgers.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

from common import canonical
from common.audit import audit
from common.audit.records import read_run
from common.config import resolve, to_toml
from common.ledger import Acknowledged, Body, Genesis, Release, Reserve, SigningKey
from common.ledger.lines import NO_PREVIOUS, line_hash, write_line
from common.ledger.receipts import HeldCheckpoint, Receipt
from common.privacy.mechanisms import PoissonGaussian
from common.run_folder import RunFolder
from common.transparency.identity import KEY_FILE, log_name
from common.transparency.leaves import Enrolment, Leaf, LoggedHead, LoggedRound, leaf_to_json
from common.transparency.merkle import MerkleTree
from common.transparency.note import Checkpoint, sign_checkpoint, verifier_key

RUN, BATCH, STEPS = "benchmark", 10, 2
T = TypeVar("T")


def main() -> None:
    """Write, audit and print one line for each folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--rounds", type=int, default=100)
    arguments = parser.parse_args()
    for clients in arguments.clients:
        for different in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                _measure(RunFolder(Path(folder) / "run"), clients, arguments.rounds, different=different)


def _measure(folder: RunFolder, clients: int, rounds: int, *, different: bool) -> None:
    _, writing = _timed(lambda: write(folder, clients, rounds, different=different))
    _, reading = _timed(lambda: read_run(folder.root))
    report, whole = _timed(lambda: audit(folder.root))
    if not report.verified:
        raise SystemExit(f"the audit found {report.findings[0]}")
    kind = "different" if different else "equal"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{clients:5d} clients x {rounds} rounds, {kind:9s} histories: written in {writing:5.1f} s, "
        f"read in {reading:5.1f} s, audited in {whole:5.1f} s, peak {peak:.1f} GiB",
        flush=True,
    )


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    started = time.monotonic()
    result = work()
    return result, time.monotonic() - started


@dataclass(kw_only=True)
class _Client:
    """A ledger that grows in memory."""

    number: int
    num_examples: int
    noise_multiplier: float
    key: SigningKey = field(default_factory=SigningKey.generate)
    lines: list[str] = field(default_factory=list)
    head: str = NO_PREVIOUS

    def add(self, body: Body) -> None:
        line = write_line(body, sequence=len(self.lines), previous=self.head, key=self.key)
        self.lines.append(line)
        self.head = line_hash(line)

    @property
    def ledger_id(self) -> str:
        return _digest(f"ledger {self.number}")


class _Log:
    """A server's log in memory."""

    def __init__(self) -> None:
        self.key = SigningKey.generate()
        self.name = log_name(self.key.public)
        self.lines: list[bytes] = []
        self.tree = MerkleTree()

    def add(self, leaf: Leaf) -> None:
        self.lines.append(canonical.dumps(leaf_to_json(leaf)))
        self.tree.append(self.lines[-1])

    def held(self) -> HeldCheckpoint:
        state = self._state()
        return HeldCheckpoint(
            size=state.size, root=state.root.hex(), signature=self.key.sign_raw(state.text.encode())
        )

    def save(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "log.jsonl").write_bytes(b"".join(line + b"\n" for line in self.lines))
        note = sign_checkpoint(self._state(), self.key, self.name)
        (folder / "checkpoint").write_text(note, encoding="utf-8")
        (folder / KEY_FILE).write_text(verifier_key(self.name, self.key.public) + "\n", encoding="ascii")

    def _state(self) -> Checkpoint:
        return Checkpoint(origin=self.name, size=self.tree.size, root=self.tree.root())


def write(folder: RunFolder, clients: int, rounds: int, *, different: bool) -> None:
    """Write the folder of a run that the audit verifies."""
    federation = [_client(number, different=different) for number in range(clients)]
    log = _Log()
    for client in federation:
        log.add(_begin(client))
    records = [_round(federation, log, number) for number in range(1, rounds + 1)]
    for client in federation:
        log.add(LoggedHead(run=RUN, ledger_id=client.ledger_id, entries=len(client.lines), head=client.head))
    _save(folder, federation, log, records)


def _client(number: int, *, different: bool) -> _Client:
    offset = number if different else 0
    return _Client(number=number, num_examples=200 + offset, noise_multiplier=2.0 + offset / 2000)


def _begin(client: _Client) -> Enrolment:
    commitment = _digest(f"records {client.number}")
    client.add(
        Genesis(
            ledger_id=client.ledger_id,
            public_key=client.key.public,
            delta=1e-5,
            budget_epsilon=8.0,
            filter_order=None,
            num_examples=client.num_examples,
            commitment=commitment,
        )
    )
    return Enrolment(
        ledger_id=client.ledger_id,
        partition_id=client.number,
        genesis=client.head,
        public_key=client.key.public,
        commitment=commitment,
        num_examples=client.num_examples,
    )


def _round(federation: list[_Client], log: _Log, number: int) -> str:
    """Let every client train once, and return the round's line of rounds.jsonl."""
    receipts = []
    for client in federation:
        reserve = len(client.lines)
        client.add(_reserve(client, number))
        client.add(Release(run=RUN, round=number, reserve=reserve, update=_update(client.number, number)))
        receipt = Receipt(
            origin=log.name,
            server_key=log.key.public,
            index=len(log.lines),
            ledger_id=client.ledger_id,
            sequence=reserve + 1,
            entry=client.head,
            run=RUN,
            round=number,
        ).sign(log.key)
        log.add(receipt)
        receipts.append(receipt)
    line = json.dumps(_record(len(federation), number))
    log.add(LoggedRound(run=RUN, round=number, record=_digest(line)))
    held = log.held()
    for client, receipt in zip(federation, receipts, strict=True):
        client.add(Acknowledged(release=len(client.lines) - 1, receipt=receipt, checkpoint=held))
    return line


def _reserve(client: _Client, number: int) -> Reserve:
    rate = Fraction(BATCH, client.num_examples)
    noise = PoissonGaussian(noise_multiplier=client.noise_multiplier, sample_rate=rate, num_steps=STEPS)
    return Reserve(
        run=RUN,
        round=number,
        purpose="train",
        mechanisms=(noise,),
        max_grad_norm=1.0,
        normaliser=Fraction(BATCH),
        sampler="poisson",
        noise_source="chacha20",
        input_model=_digest(f"model {number - 1}"),
        server_nonce=_digest(f"nonce {client.number} {number}"),
        code_digest=_digest("code"),
        libraries={"torch": "2.14.1", "opacus": "1.6.0", "flwr": "1.41.0", "dp-accounting": "0.6.0"},
    )


def _record(clients: int, number: int) -> dict[str, object]:
    return {
        "round": number,
        "accuracy": 0.5,
        "participants": list(range(clients)),
        "input_model": _digest(f"model {number - 1}"),
        "model": _digest(f"model {number}"),
        "updates": {str(client): _update(client, number) for client in range(clients)},
    }


def _save(folder: RunFolder, federation: list[_Client], log: _Log, records: list[str]) -> None:
    folder.ledger(0).parent.mkdir(parents=True)
    settings = {
        "federation.num-clients": len(federation),
        "federation.num-server-rounds": len(records),
        "training.batch-size": BATCH,
        "training.sample-rate": "off",
        "training.local-steps": STEPS,
        "privacy.epsilon": 8.0,
        "privacy.delta": 1e-5,
    }
    folder.config.write_text(to_toml(resolve(settings)), encoding="utf-8")
    folder.rounds.write_text("".join(line + "\n" for line in records), encoding="utf-8")
    folder.model.write_text(f"model {len(records)}", encoding="utf-8")
    for client in federation:
        text = "".join(line + "\n" for line in client.lines)
        folder.ledger(client.number).write_text(text, encoding="ascii")
    log.save(folder.root / "server")


def _update(client: int, number: int) -> str:
    return _digest(f"update {client} {number}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    main()
