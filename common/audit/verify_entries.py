"""Hold the entries of ledgers against the promises they rest on, whatever the run's settings say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from common.audit.findings import Finding, error, note
from common.audit.history import Charge, ClientLedger
from common.errors import ConfigError
from common.ledger import Amend, KeyRotate
from common.privacy.budget import PrivacyBudget
from common.privacy.filter import within_filter
from common.words import counted


def check_entries(ledger: ClientLedger) -> Iterator[Finding]:
    """Yield where one ledger breaks the terms that its GENESIS sets, and what changed since."""
    if ledger.view.genesis.filter_order is None:
        yield from _one_mechanism(ledger)
    else:
        yield from _filter(ledger)
    yield from _changes(ledger)
    yield from _aborted(ledger)


def check_nonces(ledgers: Sequence[ClientLedger]) -> Iterator[Finding]:
    """Yield charges that name a number which the server gave for another round or another ledger."""
    owners: dict[str, tuple[str, str, int]] = {}
    for ledger in ledgers:
        identity = ledger.view.genesis.ledger_id
        for charge in ledger.charges:
            body = charge.body
            owner = (identity, body.run, body.round)
            if owners.setdefault(body.server_nonce, owner) != owner:
                yield error(
                    "nonce-repeated",
                    f"Client {ledger.partition_id} charged round {body.round} with a number that the server "
                    "gave for another round or client, so nothing shows that it was charged in time.",
                    ledger.entry(charge),
                )
                break


def check_programs(ledgers: Sequence[ClientLedger], run: str) -> Iterator[Finding]:
    """Yield that the charges of one run were not all made by the same program."""
    first: dict[str, str] = {}
    for ledger in ledgers:
        for charge in ledger.charges:
            if charge.body.run == run:
                first.setdefault(charge.body.code_digest, ledger.entry(charge))
    if len(first) > 1:
        where = list(first.values())[1]
        yield note("other-code", f"This run was trained by {len(first)} different programs.", where)


def _one_mechanism(ledger: ClientLedger) -> Iterator[Finding]:
    kinds: dict[object, Charge] = {}
    for charge in ledger.charges:
        kinds.setdefault(frozenset(m.setting for m in charge.body.mechanisms), charge)
    if len(kinds) > 1:
        yield error(
            "mechanism-changed",
            f"Client {ledger.partition_id} changed its noise or its sampling, although its ledger promises "
            "one setting for life; if the change was made in view of results, more was spent than is shown.",
            ledger.entry(list(kinds.values())[1]),
        )


def _filter(ledger: ClientLedger) -> Iterator[Finding]:
    genesis = ledger.view.genesis
    if genesis.filter_order is None or genesis.budget_epsilon is None:
        return
    budget = PrivacyBudget(epsilon=genesis.budget_epsilon, delta=genesis.delta)
    if ledger.charges and not _permitted(ledger, budget, genesis.filter_order):
        yield error(
            "filter-exceeded",
            f"Client {ledger.partition_id} has charged more than the filter that its ledger names lets "
            "through, so its budget is no guarantee.",
            ledger.entry(ledger.charges[-1]),
        )


def _permitted(ledger: ClientLedger, budget: PrivacyBudget, order: float) -> bool:
    """Ask the filter; one of an order at which nothing can be computed permits nothing."""
    try:
        return within_filter(ledger.mechanisms(), budget, order)
    except (ConfigError, ValueError):
        return False


def _changes(ledger: ClientLedger) -> Iterator[Finding]:
    for entry in ledger.view.entries:
        match entry.body:
            case KeyRotate():
                text = f"Client {ledger.partition_id} changed its signing key; the old key agreed."
                yield note("key-rotated", text, ledger.at(entry.sequence))
            case Amend():
                yield note(
                    "amended",
                    f"Client {ledger.partition_id} changed its data set to {entry.body.num_examples} images; "
                    "what was spent before still counts for all of them.",
                    ledger.at(entry.sequence),
                )


def _aborted(ledger: ClientLedger) -> Iterator[Finding]:
    aborted = [charge for charge in ledger.charges if charge.aborted]
    if aborted:
        yield note(
            "charge-aborted",
            f"Client {ledger.partition_id} broke off {counted(len(aborted), 'charged attempt')}; "
            "what was charged stays charged.",
            ledger.entry(aborted[0]),
        )
