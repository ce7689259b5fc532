"""The process that holds a site's records and the model: begun for work, and ended without any."""

from __future__ import annotations

import logging
import os
import signal
import sys
from typing import TYPE_CHECKING

from client.deployment.facts import Facts
from client.deployment.orders import Opening
from client.deployment.worker_front import Front
from common.words import counted

if TYPE_CHECKING:
    from client.deployment.own_site import SiteOnDemand

_log = logging.getLogger("fedledger.client")


def main() -> None:
    """Open the site that the first order names, and answer messages until told to end."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)  # they are for the client, which lets a round be finished
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as reports:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # whatever a library prints is no report
        front = Front(sys.stdin.buffer, reports)
        _serve(front, front.opening())


def _serve(front: Front, opening: Opening) -> None:
    from common.logs import begin_logging

    begin_logging(opening.log_format, level=opening.log_level)
    try:
        from client.deployment.bundle import BundleJudge
        from client.deployment.own_site import SiteOnDemand
        from client.deployment.worker import Worker

        site = SiteOnDemand(opening.facts)
        if opening.is_first:
            _introduce(opening.facts, site)
    except Exception as error:  # noqa: BLE001 - the other process says it in one line and ends
        _log.debug("the site cannot be opened", exc_info=True)
        front.failed(error)
        return
    front.opened()
    judge = BundleJudge(frozenset(opening.facts.policy.permitted_apps))
    Worker(front=front, judge=judge, site=site, number=opening.facts.number).run()


def _introduce(facts: Facts, site: SiteOnDemand) -> None:
    ledger = site.opened.ledger.view
    fields = {
        "client": facts.number,
        "num_examples": ledger.num_examples,
        "ledger": ledger.genesis.ledger_id,
        "entries": len(ledger.entries),
    }
    _log.info(
        "client %d holds %s; ledger %s has %s",
        facts.number,
        counted(ledger.num_examples, "example"),
        ledger.genesis.ledger_id[:12],
        counted(len(ledger.entries), "entry", "entries"),
        extra={"fields": fields},
    )
    if facts.policy.least_examples > ledger.num_examples:
        _log.warning(
            "the policy's least-examples = %d is more than the %d examples here, so every round is refused",
            *(facts.policy.least_examples, ledger.num_examples),
        )
    if facts.policy.permit_reproducible_noise:
        _log.warning("the policy permits reproducible noise: NOT PRIVATE")
