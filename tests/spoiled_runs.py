"""One spoiled run for every code and severity that an audit can raise."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from common.audit import audit
from common.ledger import Abort, Acknowledged, Amend, Release, Reserve, SigningKey
from common.ledger.receipts import HeldCheckpoint
from common.privacy.mechanisms import PoissonGaussian, Unprotected
from common.run_folder import RunFolder
from common.transparency.identity import log_name
from common.transparency.note import Checkpoint
from tests.forgery import (
    bodies_of,
    change_last,
    leaves_of,
    lines_of,
    rewrite,
    rewrite_log,
    sign_fields,
    write_lines,
)
from tests.run_folders import (
    RunPlan,
    charge,
    charge_and_release,
    edit_round,
    open_ledger,
    receipt_for,
    server_key,
    sha256,
)

Spoil = Callable[[RunFolder], object]
Scenario = tuple[RunPlan, Spoil]

PLAN = RunPlan()


def _nothing(_: RunFolder) -> None:
    """Leave a run as it is: its plan is spoiled already."""


def _charges(**changes: Any) -> Scenario:
    return RunPlan(change=lambda body, _: replace(body, **changes)), _nothing


def _settings(**settings: Any) -> Scenario:
    names = {name.replace("__", ".").replace("_", "-"): value for name, value in settings.items()}
    return RunPlan(settings=names), _nothing


def _genesis(**changes: Any) -> Scenario:
    return RunPlan(genesis=changes), _nothing


def _spoiled(spoil: Spoil) -> Scenario:
    return PLAN, spoil


def _append(folder: RunFolder, body: Any) -> None:
    open_ledger(folder, 0, PLAN).append(body)


def _edit_ledger(edit: Callable[[list[str]], Iterable[str]]) -> Scenario:
    def spoil(folder: RunFolder) -> None:
        write_lines(folder.ledger(0), [*edit(lines_of(folder.ledger(0)))])

    return _spoiled(spoil)


def _two_beginnings(folder: RunFolder) -> None:
    bodies = bodies_of(folder.ledger(0))
    rewrite(folder.ledger(0), [bodies[0], *bodies], SigningKey.load(folder.key(0)))


def _unknown_field(folder: RunFolder) -> None:
    lines = lines_of(folder.ledger(0))
    lines[-1] = sign_fields(lines[-1], {"more": 1}, SigningKey.load(folder.key(0)))
    write_lines(folder.ledger(0), lines)


def _last_receipt(change: Callable[[RunFolder, Acknowledged], Acknowledged]) -> Scenario:
    def spoil(folder: RunFolder) -> None:
        def changed(body: Any) -> Any:
            return change(folder, body)

        change_last(folder, 0, changed)

    return _spoiled(spoil)


def _for_round(number: int) -> Callable[[RunFolder, Acknowledged], Acknowledged]:
    """Let the server sign a receipt for another round than that of the RELEASE."""

    def change(folder: RunFolder, body: Acknowledged) -> Acknowledged:
        receipt = replace(body.receipt.receipt, round=number).sign(server_key(folder))
        return replace(body, receipt=receipt)

    return change


def _at_leaf(index: int) -> Callable[[RunFolder, Acknowledged], Acknowledged]:
    """Let the server sign a receipt that names another leaf of its log."""

    def change(folder: RunFolder, body: Acknowledged) -> Acknowledged:
        return replace(body, receipt=replace(body.receipt.receipt, index=index).sign(server_key(folder)))

    return change


def _by_another_server(folder: RunFolder, body: Acknowledged) -> Acknowledged:
    other = SigningKey.generate()
    receipt = replace(body.receipt.receipt, server_key=other.public, origin=log_name(other.public))
    return replace(body, receipt=receipt.sign(other))


def _receipt_of_another_run(folder: RunFolder) -> None:
    charge_and_release(folder, 0, 1, RunPlan(logged=False), run="run-0")
    ledger, other = open_ledger(folder, 0, PLAN), SigningKey.generate()
    held = next(body.checkpoint for body in bodies_of(folder.ledger(0)) if isinstance(body, Acknowledged))
    receipt = receipt_for(ledger, other, 0).sign(other)
    release = ledger.view.entries[-1].sequence
    ledger.append(Acknowledged(release=release, receipt=receipt, checkpoint=held))


def _unsigned_checkpoint(_: RunFolder, body: Acknowledged) -> Acknowledged:
    return replace(body, checkpoint=replace(body.checkpoint, signature=bytes(64)))


def _other_release(folder: RunFolder) -> None:
    bodies = bodies_of(folder.ledger(0))
    key = SigningKey.load(folder.key(0))
    changed = [replace(b, update=sha256("other")) if isinstance(b, Release) else b for b in bodies]
    rewrite(folder.ledger(0), changed[:-1], key, keep=len(bodies) - 3)


def _swap(folder: RunFolder) -> None:
    first, second = folder.ledger(0).read_bytes(), folder.ledger(1).read_bytes()
    folder.ledger(0).write_bytes(second)
    folder.ledger(1).write_bytes(first)


def _late_client(folder: RunFolder) -> None:
    open_ledger(folder, 2, PLAN)


def _unreadable(folder: RunFolder) -> None:
    folder.ledger(0).unlink()
    folder.ledger(0).mkdir()


def _rotate(folder: RunFolder) -> None:
    open_ledger(folder, 0, PLAN).rotate(SigningKey.generate())


def _abort(folder: RunFolder) -> None:
    reserve = charge(folder, 0, 4, PLAN)
    _append(folder, Abort(run="run-1", round=4, reserve=reserve, reason="interrupted"))


def _other_noise(body: Reserve, _: int) -> Reserve:
    noise = PoissonGaussian(noise_multiplier=1.0 + body.round, sample_rate=Fraction(1, 5), num_steps=2)
    return replace(body, mechanisms=(noise,))


def _same_nonce(body: Reserve, _: int) -> Reserve:
    return replace(body, server_nonce=sha256("one for all"))


def _other_code(body: Reserve, client: int) -> Reserve:
    return replace(body, code_digest=sha256(f"code {client}"))


def _drop_round(number: int) -> Spoil:
    def spoil(folder: RunFolder) -> None:
        lines = lines_of(folder.rounds)
        del lines[number - 1]
        write_lines(folder.rounds, lines)

    return spoil


def _crash_before_line(folder: RunFolder) -> None:
    """Leave what a crash between the log's ROUND and the line in rounds.jsonl leaves."""
    leaves = [leaf for leaf in leaves_of(folder) if leaf["type"] != "HEAD"]
    key = server_key(folder)
    rewrite_log(folder, leaves, key, log_name(key.public))
    _drop_round(3)(folder)
    folder.model.write_text("model 2", encoding="utf-8")


def _invented_round(folder: RunFolder) -> None:
    leaves = [leaf for leaf in leaves_of(folder) if leaf.get("round") != 3 or leaf["type"] != "ROUND"]
    key = server_key(folder)
    rewrite_log(folder, leaves, key, log_name(key.public))


def _shorter_log(folder: RunFolder) -> None:
    key = server_key(folder)
    rewrite_log(folder, leaves_of(folder)[:3], key, log_name(key.public))


def _two_logs(folder: RunFolder) -> None:
    """Let the server show client 1 another log than client 0 saw at that size, and then lose it."""
    key = server_key(folder)
    seen = [b.checkpoint for b in bodies_of(folder.ledger(0)) if isinstance(b, Acknowledged)][-1]
    state = Checkpoint(origin=log_name(key.public), size=seen.size, root=bytes(32))
    shown = HeldCheckpoint(size=seen.size, root=state.root.hex(), signature=key.sign_raw(state.text.encode()))
    ledger = bodies_of(folder.ledger(1))
    last = ledger[-1]
    assert isinstance(last, Acknowledged)
    other = replace(last, receipt=replace(last.receipt.receipt, index=0).sign(key), checkpoint=shown)
    change_last(folder, 1, lambda _: other)
    shutil.rmtree(folder.server)


def _report(edit: Callable[[str], str]) -> Spoil:
    def spoil(folder: RunFolder) -> None:
        audit(folder.root)
        path = folder.root / "report.json"
        path.write_text(edit(path.read_text(encoding="utf-8")), encoding="utf-8")

    return spoil


SCENARIOS: dict[tuple[str, str], Scenario] = {
    ("ledger-torn", "error"): _spoiled(lambda f: f.ledger(0).write_bytes(f.ledger(0).read_bytes()[:-9])),
    ("ledger-unreadable", "error"): _spoiled(_unreadable),
    ("entry-not-canonical", "error"): _edit_ledger(
        lambda lines: [lines[0].replace(":", ": ", 1), *lines[1:]]
    ),
    ("entry-malformed", "error"): _spoiled(_unknown_field),
    ("entry-out-of-order", "error"): _spoiled(_two_beginnings),
    ("chain-broken", "error"): _edit_ledger(lambda lines: [lines[0], *lines[2:]]),
    ("signature-wrong", "error"): _edit_ledger(
        lambda lines: [line.replace('"steps":2', '"steps":1') for line in lines]
    ),
    ("receipt-wrong", "error"): _last_receipt(_for_round(2)),
    ("held-checkpoint-wrong", "error"): _last_receipt(_unsigned_checkpoint),
    ("ledger-shared", "error"): _spoiled(lambda f: shutil.copy(f.ledger(0), f.ledger(1))),
    ("ledger-swapped", "error"): _spoiled(_swap),
    ("second-ledger", "error"): _genesis(commitment=sha256("the same records")),
    ("ledger-rollback", "error"): _edit_ledger(lambda lines: lines[:-1]),
    ("ledger-fork", "error"): _spoiled(_other_release),
    ("enrolment-missing", "error"): _spoiled(_late_client),
    ("stray-ledger", "warning"): _spoiled(lambda f: (f.root / "ledgers" / "copy.jsonl").touch()),
    ("mechanism-changed", "error"): (RunPlan(change=_other_noise), _nothing),
    ("filter-exceeded", "error"): (
        RunPlan(genesis={"filter_order": 8.0}, settings={"privacy.epsilon": 0.5}),
        _nothing,
    ),
    ("budget-exceeded", "error"): _settings(privacy__epsilon=0.5),
    ("nonce-repeated", "error"): (RunPlan(change=_same_nonce), _nothing),
    ("sampler-not-poisson", "error"): _charges(sampler="shuffle"),
    ("noise-missing", "error"): _charges(noise_source="none"),
    ("clip-missing", "error"): _charges(max_grad_norm=None),
    ("normaliser-differs", "error"): _charges(normaliser=Fraction(9)),
    ("delta-too-large", "error"): _genesis(delta=0.021),
    ("delta-large", "note"): _genesis(delta=0.003),
    ("key-rotated", "note"): _spoiled(_rotate),
    ("amended", "note"): _spoiled(lambda f: _append(f, Amend(num_examples=60, commitment=sha256("more")))),
    ("charge-aborted", "note"): _spoiled(_abort),
    ("rounds-out-of-order", "error"): _spoiled(_drop_round(2)),
    ("model-chain-broken", "error"): _spoiled(lambda f: edit_round(f, 2, input_model=sha256("other"))),
    ("model-missing", "error"): _spoiled(lambda f: f.model.unlink()),
    ("model-differs", "error"): _spoiled(lambda f: f.model.write_text("other")),
    ("model-average-differs", "error"): _settings(federation__model_average=0.9),
    ("participants-differ", "error"): _spoiled(lambda f: edit_round(f, 2, participants=[0])),
    ("ledger-missing", "error"): _spoiled(lambda f: f.ledger(1).unlink()),
    ("charge-missing", "error"): _edit_ledger(lambda lines: lines[:-3]),
    ("release-missing", "error"): _edit_ledger(lambda lines: lines[:-2]),
    ("update-differs", "error"): _spoiled(_other_release),
    ("input-model-differs", "error"): _charges(input_model=sha256("other")),
    ("other-runs", "note"): _spoiled(lambda f: charge_and_release(f, 0, 1, PLAN, run="run-0")),
    ("unused-charge", "note"): _spoiled(lambda f: charge(f, 0, 4, PLAN)),
    ("other-code", "note"): (RunPlan(change=_other_code), _nothing),
    ("no-rounds", "warning"): (RunPlan(rounds=0), _nothing),
    ("run-unfinished", "note"): _settings(federation__num_server_rounds=4),
    ("more-rounds", "warning"): _settings(federation__num_server_rounds=2),
    ("evaluation-differs", "warning"): _spoiled(lambda f: edit_round(f, 3, accuracy=0.1)),
    ("delta-differs", "error"): _genesis(delta=1e-6),
    ("delta-differs", "warning"): (RunPlan(genesis={"delta": 1e-6}), lambda f: f.partitions.unlink()),
    ("budget-differs", "error"): _genesis(budget_epsilon=9.0),
    ("budget-differs", "warning"): _genesis(budget_epsilon=7.0),
    ("unknown-client", "warning"): _spoiled(_late_client),
    ("size-differs", "error"): _genesis(num_examples=60),
    ("protection-differs", "error"): _charges(mechanisms=(Unprotected(num_steps=2),)),
    ("steps-differ", "error"): _settings(training__local_steps=3),
    ("sample-rate-differs", "error"): _settings(training__sample_rate=0.1),
    ("clip-differs", "error"): _settings(privacy__max_grad_norm=2.0),
    ("noise-multiplier-differs", "error"): _settings(privacy__noise_multiplier=1.0),
    ("noise-source-differs", "error"): _settings(privacy__reproducible_noise=True),
    ("report-differs", "error"): _spoiled(_report(lambda text: text.replace('"epsilon": 1', '"epsilon": 0'))),
    ("log-missing", "error"): _spoiled(lambda f: shutil.rmtree(f.server)),
    ("log-missing", "note"): (RunPlan(logged=False), _nothing),
    ("log-damaged", "error"): _spoiled(lambda f: (f.server / "checkpoint").unlink()),
    ("log-unsigned-tail", "error"): _spoiled(
        lambda f: write_lines(f.server / "log.jsonl", [*lines_of(f.server / "log.jsonl"), "{}"])
    ),
    ("log-rollback", "error"): _spoiled(_shorter_log),
    ("log-split", "error"): _spoiled(_two_logs),
    ("round-differs", "error"): _spoiled(lambda f: edit_round(f, 2, loss=0.0)),
    ("round-not-in-log", "error"): _spoiled(_invented_round),
    ("round-missing", "error"): _spoiled(_drop_round(3)),
    ("round-missing", "warning"): _spoiled(_crash_before_line),
    ("receipt-missing", "warning"): (RunPlan(confirms=lambda client, number: number != 2), _nothing),
    ("receipt-missing", "note"): (RunPlan(confirms=lambda client, number: number != 3), _nothing),
    ("receipt-not-in-log", "error"): _last_receipt(_at_leaf(0)),
    ("receipt-by-other-server", "error"): _last_receipt(_by_another_server),
    ("receipt-by-other-server", "note"): _spoiled(_receipt_of_another_run),
}
