"""What computed: mechanisms, libraries and code, as the ledgers recorded them and as the audit found them."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterable
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import common
from common.audit.history import ClientLedger
from common.audit.report_parts import AccountingReport, MechanismReport
from common.privacy.accounting import ADJACENCY
from common.privacy.decimals import decimal_text
from common.privacy.mechanisms import PoissonGaussian, Unprotected

_CODE = ("client", "common", "server", "simulations")
_ACCOUNTANT = "dp-accounting"
_T = TypeVar("_T", int, float, Fraction)


def mechanism_report(ledgers: Iterable[ClientLedger]) -> MechanismReport:
    """Gather what clients recorded about their computations, distinct values only."""
    bodies = [charge.body for ledger in ledgers for charge in ledger.charges]
    mechanisms = {mechanism for body in bodies for mechanism in body.mechanisms}
    noisy = [mechanism for mechanism in mechanisms if not isinstance(mechanism, Unprotected)]
    sampled = [mechanism for mechanism in noisy if isinstance(mechanism, PoissonGaussian)]
    clips = {body.max_grad_norm for body in bodies if body.max_grad_norm is not None}
    return MechanismReport(
        noise_multipliers=_distinct(mechanism.noise_multiplier for mechanism in noisy),
        sample_rates=tuple(str(rate) for rate in _distinct(mechanism.sample_rate for mechanism in sampled)),
        steps_per_round=_distinct(
            sum(m.num_steps for m in steps) for steps in {b.mechanisms for b in bodies}
        ),
        max_grad_norms=tuple(decimal_text(clip) for clip in _distinct(clips)),
        normalisers=tuple(str(normaliser) for normaliser in _distinct(body.normaliser for body in bodies)),
        samplers=tuple(sorted({body.sampler for body in bodies})),
        noise_sources=tuple(sorted({body.noise_source for body in bodies})),
        code_digests=tuple(sorted({body.code_digest for body in bodies})),
    )


def accounting_report() -> AccountingReport:
    """Name what every epsilon of an audit was computed with."""
    return AccountingReport(
        library=_ACCOUNTANT,
        version=_installed(_ACCOUNTANT),
        claim="privacy loss distributions (PLD), rounded pessimistically",
        cross_check="Renyi differential privacy (RDP)",
        neighbouring_relation=ADJACENCY.name,
    )


def library_versions(ledgers: Iterable[ClientLedger]) -> dict[str, str]:
    """Return the versions that trained, as recorded, and those that audit."""
    recorded: dict[str, set[str]] = {}
    for library, number in {
        item for ledger in ledgers for charge in ledger.charges for item in charge.body.libraries.items()
    }:
        recorded.setdefault(library, set()).add(number)
    training = {library: ", ".join(sorted(numbers)) for library, numbers in sorted(recorded.items())}
    auditing = {name: _installed(name) for name in ("fedledger", _ACCOUNTANT)}
    return {"python": platform.python_version()} | training | auditing


def auditing_code_digest() -> str:
    """Hash the sources beside this one, so that two reports show whether the same code made them."""
    root = Path(next(iter(common.__path__))).parent
    digest = hashlib.sha256()
    for folder in _CODE:
        for file in sorted((root / folder).rglob("*.py")):
            digest.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _distinct(values: Iterable[_T]) -> tuple[_T, ...]:
    return tuple(sorted(set(values)))


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "from source"
