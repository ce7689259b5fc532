"""Write small but complete run folders, as a simulation would, for tests that audit them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from common.config import RunConfig, resolve, to_toml
from common.ledger import Acknowledged, Genesis, Ledger, Release, Reserve, SigningKey
from common.ledger.receipts import Receipt
from common.privacy.budget import default_delta
from common.privacy.mechanisms import Mechanism, PoissonGaussian, Unprotected
from common.run_folder import RunFolder
from common.transparency.held import hold
from common.transparency.identity import KEY_FILE, log_name
from common.transparency.leaves import Enrolment, Leaf, LoggedHead, LoggedRound, leaf_to_json
from common.transparency.log import ServerLog
from common.transparency.note import open_checkpoint, verifier_key

CLASSES = ("circle", "square")
LIBRARIES = {"torch": "2.14.1", "opacus": "1.6.0", "flwr": "1.41.0", "dp-accounting": "0.6.0"}

ChangeReserve = Callable[[Reserve, int], Reserve]
Confirms = Callable[[int, int], bool]


def sha256(text: str) -> str:
    """Return the digest that stands for a model or an update of this name."""
    return hashlib.sha256(text.encode()).hexdigest()


def keep(body: Reserve, _: int) -> Reserve:
    """Leave a client's charge as it is."""
    return body


def always(client: int, number: int) -> bool:
    """Say yes."""
    return True


@dataclass(frozen=True, kw_only=True)
class RunPlan:
    """What to write; every default makes a run that the audit verifies.

    Sigma 2, q 1/5, 2 steps a round at n = 50 (10 images of 'circle' and 40 of 'square').

    Args:
        logged: whether a server keeps a log of the run.
        confirms: whether the client gets its receipt for a round, which the log holds in any case.
    """

    clients: int = 2
    rounds: int = 3
    num_examples: int = 50
    noise_multiplier: float = 2.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    genesis: Mapping[str, Any] = field(default_factory=dict)
    change: ChangeReserve = keep
    logged: bool = True
    confirms: Confirms = always
    classes: tuple[str, ...] = CLASSES
    dataset: str = "Made-up shapes."

    @property
    def config(self) -> RunConfig:
        """The run's settings."""
        defaults: dict[str, Any] = {
            "federation.num-clients": self.clients,
            "federation.num-server-rounds": max(self.rounds, 1),
            "training.sample-rate": 0.2,
            "training.local-steps": 2,
            "privacy.epsilon": 8.0,
        }
        return resolve(defaults, self.settings)


def write_run(root: Path, plan: RunPlan) -> RunFolder:
    """Write the folder of a finished run."""
    folder = RunFolder(root)
    root.mkdir(parents=True, exist_ok=True)
    folder.config.write_text(to_toml(plan.config), encoding="utf-8")
    clients, rounds = range(plan.clients), range(1, plan.rounds + 1)
    ledgers = [open_ledger(folder, client, plan) for client in clients]
    if plan.logged:
        log_leaves(folder, [enrolment_of(ledger, client) for client, ledger in enumerate(ledgers)])
    lines = [json.dumps(round_record(number, plan)) for number in rounds]
    for number, line in zip(rounds, lines, strict=True):
        for client in clients:
            charge_and_release(folder, client, number, plan)
        if plan.logged:
            log_leaves(folder, [LoggedRound(run="run-1", round=number, record=sha256(line))])
    if plan.logged:
        log_leaves(folder, [head_of(open_ledger(folder, client, plan)) for client in clients])
    folder.rounds.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    folder.model.write_text(model_text(plan.rounds), encoding="utf-8")
    folder.evaluation.write_text(json.dumps(evaluation_record(plan)), encoding="utf-8")
    folder.partitions.write_text(json.dumps(partitions_record(plan)), encoding="utf-8")
    return folder


def enrolment_of(ledger: Ledger, client: int) -> Enrolment:
    """Return the leaf with which a ledger joins."""
    view = ledger.view
    return Enrolment(
        ledger_id=view.genesis.ledger_id,
        partition_id=client,
        genesis=view.entries[0].hash,
        public_key=view.public_key,
        commitment=view.commitments[-1],
        num_examples=view.num_examples,
    )


def head_of(ledger: Ledger, run: str = "run-1") -> LoggedHead:
    """Return the leaf that says how far a ledger is at the end of a run."""
    view = ledger.view
    return LoggedHead(run=run, ledger_id=view.genesis.ledger_id, entries=len(view.entries), head=view.head)


def server_key(folder: RunFolder) -> SigningKey:
    """Return the server's key; a new one, with its public form beside the log, where there is none."""
    if folder.server_key.exists():
        return SigningKey.load(folder.server_key)
    key = SigningKey.generate()
    key.save(folder.server_key)
    folder.server.mkdir(exist_ok=True)
    public = verifier_key(log_name(key.public), key.public) + "\n"
    (folder.server / KEY_FILE).write_text(public, encoding="ascii")
    return key


def log_leaves(folder: RunFolder, leaves: Sequence[Leaf]) -> None:
    """Append leaves to the server's log."""
    key = server_key(folder)
    with ServerLog.open(folder.server, key, log_name(key.public)) as log:
        log.append([leaf_to_json(leaf) for leaf in leaves])


def confirm(folder: RunFolder, ledger: Ledger) -> Acknowledged:
    """Let the server confirm a ledger's last entry, a RELEASE, and return what the client is to keep."""
    key = server_key(folder)
    with ServerLog.open(folder.server, key, log_name(key.public)) as log:
        receipt = receipt_for(ledger, key, log.size).sign(key)
        log.append([leaf_to_json(receipt)])
        state = open_checkpoint(log.checkpoint, key.public, log_name(key.public))
        held = hold(log.checkpoint, state, key.public)
    return Acknowledged(release=ledger.view.entries[-1].sequence, receipt=receipt, checkpoint=held)


def receipt_for(ledger: Ledger, key: SigningKey, index: int) -> Receipt:
    """Return what a server with this key says of a ledger's last entry, a RELEASE."""
    last = ledger.view.entries[-1]
    assert isinstance(last.body, Release)
    return Receipt(
        origin=log_name(key.public),
        server_key=key.public,
        index=index,
        ledger_id=ledger.view.genesis.ledger_id,
        sequence=last.sequence,
        entry=last.hash,
        run=last.body.run,
        round=last.body.round,
    )


def model_text(number: int) -> str:
    """Return the 'weights' after a round; their hash is that of model.safetensors."""
    return f"model {number}"


def open_ledger(folder: RunFolder, client: int, plan: RunPlan) -> Ledger:
    """Open a client's ledger, or begin it."""
    path, key_path = folder.ledger(client), folder.key(client)
    if path.exists():
        return Ledger.open(path, SigningKey.load(key_path))
    path.parent.mkdir(parents=True, exist_ok=True)
    key_path.parent.mkdir(parents=True, exist_ok=True)
    key = SigningKey.generate()
    key.save(key_path)
    terms: dict[str, Any] = {
        "delta": default_delta(plan.num_examples),
        "budget_epsilon": plan.config.privacy.epsilon if plan.config.privacy.enabled else None,
        "num_examples": plan.num_examples,
        "commitment": sha256(f"records of client {client}"),
    }
    return Ledger.create(path, key, Genesis.new(key, **(terms | dict(plan.genesis))))


def charge(folder: RunFolder, client: int, number: int, plan: RunPlan, run: str = "run-1") -> int:
    """Append a RESERVE and return its sequence number."""
    private = plan.config.privacy.enabled
    noisy: Mechanism = PoissonGaussian(
        noise_multiplier=plan.noise_multiplier, sample_rate=Fraction(1, 5), num_steps=2
    )
    body = Reserve(
        run=run,
        round=number,
        purpose="train",
        mechanisms=(noisy if private else Unprotected(num_steps=2),),
        max_grad_norm=1.0 if private else None,
        normaliser=Fraction(plan.num_examples, 5),
        sampler="poisson",
        noise_source="chacha20" if private else "none",
        input_model=sha256(model_text(number - 1)),
        server_nonce=sha256(f"nonce {run} {client} {number}"),
        code_digest=sha256("code"),
        libraries=LIBRARIES,
    )
    return open_ledger(folder, client, plan).append(plan.change(body, client)).sequence


def charge_and_release(
    folder: RunFolder, client: int, number: int, plan: RunPlan, run: str = "run-1"
) -> None:
    """Append a RESERVE and its RELEASE, and the server's receipt where there is a server."""
    reserve = charge(folder, client, number, plan, run)
    update = sha256(f"update {client} {number}")
    ledger = open_ledger(folder, client, plan)
    ledger.append(Release(run=run, round=number, reserve=reserve, update=update))
    if plan.logged:
        receipt = confirm(folder, ledger)
        if plan.confirms(client, number):
            ledger.append(receipt)


def round_record(number: int, plan: RunPlan) -> dict[str, Any]:
    """Return a line of rounds.jsonl; accuracy is 0.5 after round 1 and rises by 0.1 to 0.9."""
    return {
        "round": number,
        "accuracy": min(0.4 + number / 10, 0.9),
        "loss": 1.0 / number,
        "participants": list(range(plan.clients)),
        "refused": [],
        "seconds": 0.1,
        "input_model": sha256(model_text(number - 1)),
        "model": sha256(model_text(number)),
        "updates": {str(client): sha256(f"update {client} {number}") for client in range(plan.clients)},
    }


def evaluation_record(plan: RunPlan) -> dict[str, Any]:
    """Return evaluation.json: each class is right 7 times in 10."""
    size = len(plan.classes)
    wrong = 3 // max(size - 1, 1)
    return {
        "round": max(plan.rounds, 1),
        "num_examples": 10 * size,
        "accuracy": min(0.4 + plan.rounds / 10, 0.9),
        "loss": 0.3,
        "balanced_accuracy": 0.7,
        "precision": 0.7,
        "recall": 0.7,
        "f1": 0.7,
        "classes": list(plan.classes),
        "per_class": [
            {"class": name, "precision": 0.7, "recall": 0.7, "f1": 0.7, "support": 10}
            for name in plan.classes
        ],
        "confusion": [[7 if row == column else wrong for column in range(size)] for row in range(size)],
        "calibration": {
            "error": 0.25,
            "confidence": 0.95,
            "bins": [
                {"low": 0.9, "high": 1.0, "confidence": 0.95, "accuracy": 0.7, "count": 10 * size},
            ],
        },
    }


def partitions_record(plan: RunPlan) -> dict[str, Any]:
    """Return partitions.json: 10 images of the first class and the rest of the last."""
    counts = [10, *[0] * (len(plan.classes) - 2), plan.num_examples - 10]
    return {"dataset": plan.dataset, "classes": list(plan.classes), "counts": [counts] * plan.clients}


def edit_recalls(folder: RunFolder, **recalls: float) -> None:
    """Overwrite how much of each class is recognised."""
    record = json.loads(folder.evaluation.read_text(encoding="utf-8"))
    record["per_class"] = [result | {"recall": recalls[result["class"]]} for result in record["per_class"]]
    folder.evaluation.write_text(json.dumps(record), encoding="utf-8")


def edit_counts(folder: RunFolder, *counts: list[int]) -> None:
    """Overwrite which labels each client holds."""
    record = json.loads(folder.partitions.read_text(encoding="utf-8")) | {"counts": counts}
    folder.partitions.write_text(json.dumps(record), encoding="utf-8")


def edit_round(folder: RunFolder, number: int, **changes: Any) -> None:
    """Overwrite fields of one line of rounds.jsonl."""
    lines = folder.rounds.read_text(encoding="utf-8").splitlines()
    lines[number - 1] = json.dumps(json.loads(lines[number - 1]) | changes)
    folder.rounds.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
