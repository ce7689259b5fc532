"""One round on a client: decide, charge, train, release, in that order."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version

from client.noise import PrivateRandomness
from client.optimizer import OptimizerSettings
from client.receipts import keep_receipts
from client.site import Site
from client.trainer import Charge, DPTrainer
from common.arrays import Arrays, digest, same_bits
from common.code import code_digest
from common.config import RunConfig
from common.data.shares import preparation_of
from common.device import resolve_device
from common.errors import FedLedgerError, LedgerTampered
from common.ledger import Abort, Release, Reserve
from common.models import build_loss, build_model, spec_of
from common.privacy.mechanisms import PoissonGaussian
from common.protocol import Proposal, TrainRequest, Update

_LIBRARIES = ("torch", "opacus", "flwr", "dp-accounting")
_worker = threading.local()


def train_round(site: Site, request: TrainRequest) -> Update:
    """Charge, train and release one round.

    The RESERVE entry is on disk before the first record is touched: a crash from there on leaves the
    round charged, whether or not anything left. Training that fails is closed by an ABORT, and stays charged.
    Where finished updates are kept, the same request again gets the same bytes, at no charge.

    Raises:
        PolicyRefused, BudgetExhausted: when the site's policy says no; nothing is charged then.
        ConfigError: when the model is not the one that the settings name; nothing is charged then.
        MessageError: when the model, or the correction, holds values that are not finite; nor then.

    Privacy: only `Update` leaves: the noised update, charged in the ledger, and the ledger's entries.
    """
    keep_receipts(site.ledger, request.deliveries)
    if site.kept is not None and (kept := site.kept.again(request, site.ledger)) is not None:
        return _update(site, request, kept)
    trainer = _trainer(site, request.proposal)
    trainer.refuse_misfit(request.arrays)
    if request.correction is not None:
        trainer.refuse_misfit(request.correction, kind="correction")
    randomness = _randomness(site.config, site.partition_id, request)
    reserved = _repeatable(site, request) or _reserve(site, request, randomness.source)
    try:
        arrays = trainer.fit(
            request.arrays, site.records, reserved.charge, randomness, request.correction
        ).arrays
        if site.kept is not None:
            site.kept.keep(request, arrays, site.ledger.view)
    except Exception as error:
        _abort(site, reserved, error)
        raise
    _release(site, reserved, digest(arrays))
    return _update(site, request, arrays)


def _update(site: Site, request: TrainRequest, arrays: Arrays) -> Update:
    return Update(
        partition_id=site.partition_id,
        num_examples=len(site.records),
        arrays=arrays,
        ledger_lines=site.ledger.view.lines[request.known_entries :],
    )


@dataclass(frozen=True)
class _Reserved:
    sequence: int
    body: Reserve
    charge: Charge


def _randomness(config: RunConfig, partition_id: int, request: TrainRequest) -> PrivateRandomness:
    if config.privacy.reproducible_noise:
        return PrivateRandomness.reproducible(config.runtime.seed, partition_id, request.round)
    return PrivateRandomness.from_operating_system()


def _reserve(site: Site, request: TrainRequest, noise_source: str) -> _Reserved:
    charge = site.policy.permit(request.proposal, site.ledger.view, run=request.run)
    private = isinstance(charge.mechanism, PoissonGaussian)
    body = Reserve(
        run=request.run,
        round=request.round,
        purpose="train",
        mechanisms=(charge.mechanism,),
        max_grad_norm=charge.max_grad_norm if private else None,
        normaliser=charge.expected_batch_size,
        sampler="poisson",
        noise_source=noise_source if private else "none",
        input_model=_digest_of_model(request.arrays),
        server_nonce=request.server_nonce,
        code_digest=code_digest(),
        libraries=_what_computes(site),
    )
    return _Reserved(site.ledger.append(body).sequence, body, charge)


@cache
def _versions() -> dict[str, str]:
    """Return the versions of libraries, which are those that were loaded, whatever is installed meanwhile."""
    return {name: version(name) for name in _LIBRARIES}


def _digest_of_model(arrays: Arrays) -> str:
    """Return the digest of a round's model, which many clients of one process are given one after another.

    To compare every bit with the last one's takes a tenth of the time that hashing takes. What came with a
    message is never changed in place.
    """
    last: tuple[Arrays, str] | None = getattr(_worker, "hashed", None)
    if last is None or not same_bits(last[0], arrays):
        last = _worker.hashed = (arrays, digest(arrays))
    return last[1]


def _what_computes(site: Site) -> dict[str, str]:
    """Return the versions of libraries, and of the frozen front, if any: its weights are no code."""
    front = spec_of(site.config.model).front
    return _versions() | ({"front": front.version} if front else {})


def _repeatable(site: Site, request: TrainRequest) -> _Reserved | None:
    """Find the reservation of this very computation, if repeating it gives the very same bytes.

    That is so under reproducible noise only (never private), where a resumed run computes an interrupted
    round again. Fresh noise would be a new release and a new charge.
    """
    if not site.config.privacy.reproducible_noise:
        return None
    input_model = digest(request.arrays)
    view = site.ledger.view
    aborted = {entry.body.reserve for entry in view.entries if isinstance(entry.body, Abort)}
    for entry in reversed(view.entries):
        body = entry.body
        if (
            entry.sequence in aborted
            or not isinstance(body, Reserve)
            or (body.run, body.round) != (request.run, request.round)
        ):
            continue
        if body.input_model == input_model and body.noise_source == "reproducible":
            return _Reserved(entry.sequence, body, _charge_of(site, body))
    return None


def _charge_of(site: Site, body: Reserve) -> Charge:
    num_examples = len(site.records)
    return Charge(
        mechanism=body.mechanisms[0],
        sample_rate=body.normaliser / num_examples,
        max_grad_norm=body.max_grad_norm or 1.0,
        num_examples=num_examples,
    )


def _release(site: Site, reserved: _Reserved, update: str) -> None:
    """Record the released bytes; the same bytes again need no second entry."""
    for entry in site.ledger.view.entries[reserved.sequence + 1 :]:
        if isinstance(entry.body, Release) and entry.body.reserve == reserved.sequence:
            if entry.body.update != update:
                raise LedgerTampered(
                    f"round {reserved.body.round} gave other bytes than its RELEASE entry {entry.sequence}: "
                    "start a new run"
                )
            return
    body = reserved.body
    site.ledger.append(Release(run=body.run, round=body.round, reserve=reserved.sequence, update=update))


def _abort(site: Site, reserved: _Reserved, error: Exception) -> None:
    """Record that nothing will leave under a charge, which stands all the same."""
    if reserved.sequence in site.ledger.view.unclosed:
        body = reserved.body
        reason = error.code if isinstance(error, FedLedgerError) else "internal"
        site.ledger.append(Abort(run=body.run, round=body.round, reserve=reserved.sequence, reason=reason))


def _trainer(site: Site, proposal: Proposal) -> DPTrainer:
    """Return this thread's trainer; building one costs more than a small round."""
    wanted = (
        site.config.model,
        site.config.runtime,
        site.config.data.augmentation,
        proposal.training.loss,
        proposal.training.augmentation_multiplicity,
        site.records.classes,
    )
    if getattr(_worker, "built_for", None) != wanted:
        _worker.trainer = _build_trainer(site, proposal)
        _worker.built_for = wanted
    trainer: DPTrainer = _worker.trainer
    trainer.step_by(_rule(site, proposal))
    return trainer


def _rule(site: Site, proposal: Proposal) -> OptimizerSettings:
    training = proposal.training
    clip = proposal.max_grad_norm if proposal.private else None
    rate = training.rate(auto=spec_of(site.config.model).auto_rates.rate(clip))
    return OptimizerSettings(
        name=training.optimizer,
        learning_rate=rate,
        momentum=training.momentum,
        proximal_mu=training.proximal_mu,
    )


def _build_trainer(site: Site, proposal: Proposal) -> DPTrainer:
    device = resolve_device(site.config.runtime.device)
    return DPTrainer(
        model=build_model(site.config.model.name, num_classes=len(site.records.classes)),
        loss=build_loss(proposal.training.loss),
        optimizer=_rule(site, proposal),
        transform=preparation_of(site.config).transform(),
        device=device,
        max_physical_batch_size=site.config.runtime.max_physical_batch_size,
        views=proposal.training.augmentation_multiplicity,
        spare_core=site.config.runtime.num_workers < (os.cpu_count() or 1),
    )
