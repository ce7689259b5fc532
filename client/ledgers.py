"""A client's ledger and the data set that it belongs to: begun together, held to each other ever after."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from common.config import RunConfig
from common.data import Images
from common.errors import ConfigError
from common.ledger import Amend, Genesis, Ledger, SigningKey
from common.ledger.beginning import ClientFiles, begin, has_begun
from common.ledger.commitment import commit, load_salt, new_salt, save_salt
from common.ledger.keys import passphrase_from_environment
from common.ledger.rotation import current_key
from common.privacy.budget import PrivacyBudget, check_delta, default_delta
from common.privacy.filter import filter_order
from common.run_folder import LedgerHome

_IN_HAND = 256
"""Images that are copied at a time: large copies, freed between what stays, would leave memory in pieces."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a ledger fixes about its data set.

    Args:
        delta: of every epsilon; for life.
        budget_epsilon: lifetime limit, or None for training without privacy; for life.
        filter_order: Renyi order of a filter for adaptive settings, or None for fixed ones; for life.
        num_examples: public size n; changed by an AMEND only.
        commitment: to the records; changed by an AMEND only.
    """

    delta: float
    budget_epsilon: float | None
    filter_order: float | None
    num_examples: int
    commitment: str

    def __str__(self) -> str:
        what = "unprotected training" if self.budget_epsilon is None else f"epsilon {self.budget_epsilon:g}"
        kind = "fixed settings" if self.filter_order is None else "adaptive settings"
        return f"{what} at delta {self.delta:.3g} with {kind}"


def terms_of(config: RunConfig, records: Images, salt: bytes, begun: Genesis | None) -> Terms:
    """Return the terms that a run's settings ask for, on these records.

    Args:
        salt: the client's secret, 32 bytes.
        begun: the ledger's beginning, where there is one: settings left at "auto" follow it.

    Raises:
        ConfigError: when delta is too large for their number, or no filter keeps so small a budget.
    """
    privacy, num_examples = config.privacy, len(records)
    default = begun.delta if begun else default_delta(num_examples)
    delta = default if privacy.delta == "auto" else privacy.delta
    check_delta(delta, num_examples)
    budget = PrivacyBudget(epsilon=privacy.epsilon, delta=delta) if privacy.enabled else None
    order = filter_order(budget) if budget and config.adaptive else None
    return Terms(
        delta=delta,
        budget_epsilon=budget.epsilon if budget else None,
        filter_order=begun.filter_order if begun and privacy.accounting == "auto" else order,
        num_examples=num_examples,
        commitment=commit(salt=salt, digest=digest_of(records), num_examples=num_examples),
    )


def digest_of(records: Images) -> bytes:
    """Return the SHA-256 of a set of labelled images, whatever their order; 32 bytes."""
    parts = torch.split(torch.arange(len(records)), _IN_HAND)
    hashes = sorted(each for numbers in parts for each in _hashes(records, numbers))
    return hashlib.sha256(b"".join(hashes)).digest()


def _hashes(records: Images, numbers: Tensor) -> Iterator[bytes]:
    """Hash some of the images, each with its label and size."""
    images, labels = records.take(numbers), records.labels[numbers]
    shape = "x".join(map(str, images.shape[1:])).encode()
    for image, label in zip(images.numpy(), labels.tolist(), strict=True):
        yield hashlib.sha256(b"%d %s\0" % (label, shape) + image.tobytes()).digest()


def open_ledger(home: LedgerHome, partition_id: int, config: RunConfig, records: Images) -> Ledger:
    """Open a client's ledger, or begin it with its key.

    Raises:
        ConfigError: when the ledger was begun on other terms, or for other records.
        LedgerError: when its files cannot be used, or some of them were lost.
    """
    files = ClientFiles(
        ledger=home.ledger(partition_id), key=home.key(partition_id), salt=home.salt(partition_id)
    )
    if not has_begun(files):
        return _begin(files, config, records)
    path, amend = files.ledger, config.privacy.amend_ledgers
    ledger = Ledger.open(path, current_key(path, files.key, passphrase_from_environment()))
    terms = terms_of(config, records, _salt_of(files.salt, amend=amend), ledger.view.genesis)
    _refuse_other_terms(path, ledger.view.genesis, terms)
    _hold_to_data(path, ledger, terms, amend=amend)
    return ledger


def _begin(files: ClientFiles, config: RunConfig, records: Images) -> Ledger:
    salt, key = new_salt(), SigningKey.generate()
    terms = terms_of(config, records, salt, None)
    genesis = Genesis.new(
        key,
        delta=terms.delta,
        budget_epsilon=terms.budget_epsilon,
        filter_order=terms.filter_order,
        num_examples=terms.num_examples,
        commitment=terms.commitment,
    )
    return begin(files, key, salt, genesis, passphrase_from_environment())


def _salt_of(path: Path, *, amend: bool) -> bytes:
    """Return the salt of a ledger that exists; a new one only where its owner permits that."""
    if path.exists():
        return load_salt(path)
    if not amend:
        raise ConfigError(
            f"{path} is missing: restore it from a backup, or record the change with "
            "privacy.amend-ledgers = true (what was spent stays spent)"
        )
    salt = new_salt()
    save_salt(path, salt)
    return salt


def _refuse_other_terms(path: Path, genesis: Genesis, terms: Terms) -> None:
    begun = replace(
        terms,
        delta=genesis.delta,
        budget_epsilon=genesis.budget_epsilon,
        filter_order=genesis.filter_order,
    )
    if begun != terms:
        raise ConfigError(
            f"{path} was begun for {begun}, but the settings are for {terms}: "
            "a ledger's terms are for life, put the settings back or choose another folder"
        )


def _hold_to_data(path: Path, ledger: Ledger, terms: Terms, *, amend: bool) -> None:
    """Record that the data set has changed, where its owner permits that; else refuse to go on."""
    view = ledger.view
    if (view.num_examples, view.commitments[-1]) == (terms.num_examples, terms.commitment):
        return
    if not amend:
        other = (
            f"{view.num_examples} examples" if view.num_examples != terms.num_examples else "other examples"
        )
        raise ConfigError(
            f"{path} is the ledger of {other}, but the client now holds {terms.num_examples}: put the data "
            "back, or record the change with privacy.amend-ledgers = true (what was spent stays spent)"
        )
    check_delta(view.genesis.delta, terms.num_examples)
    ledger.append(Amend(num_examples=terms.num_examples, commitment=terms.commitment))
