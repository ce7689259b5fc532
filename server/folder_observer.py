"""Telling another process, through the run's folder, how a run goes on; and being stopped by it."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from typing import Any

from common.errors import CheckpointError
from common.protocol import Refusal
from common.run_folder import RunFolder
from server.observer import RunObserver, largest_epsilon
from server.seen import SeenLedgers
from server.state import RoundOutcome, RunState, TurnedAway


class FolderObserver(RunObserver):
    """Writes a line an event into `progress.jsonl`, and looks for a request to stop, besides logging.

    Args:
        folder: the run's.
        stamp: words that a run without a guarantee carries; empty for a private run.
        seen: where ledgers are kept as they were seen last, if anywhere.
    """

    def __init__(self, folder: RunFolder, stamp: str, seen: SeenLedgers | None = None) -> None:
        super().__init__(logging.getLogger("flwr"))
        self._folder = folder
        self._stamp = stamp
        self._seen = seen

    def turned_away(self, nodes: Sequence[TurnedAway]) -> None:
        """Write who could not join."""
        for one in nodes:
            refusal = one.refusal
            self._write(
                "turned-away",
                node=one.node_id,
                number=refusal.partition_id,
                why=refusal.reason,
                code=refusal.code,
            )

    def joined(self, state: RunState, refused: list[str]) -> None:
        """Write who joined."""
        super().joined(state, refused)
        examples = sum(client.num_examples for client in state.clients.values())
        clients = state.clients.values()
        self._write(
            "joined",
            clients=len(clients),
            examples=examples,
            done=state.round,
            refused=refused,
            nodes={str(client.node_id): client.ledger.genesis.ledger_id for client in clients},
            numbers={str(client.partition_id): client.node_id for client in clients},
        )
        self._keep_seen(state)

    def round_started(self, number: int, cohort_size: int) -> None:
        """Write that a round began."""
        self._write("round-started", round=number, cohort=cohort_size)

    def client_answered(self) -> None:
        """Write that one more client has answered."""
        self._write("client-answered")

    def round_finished(self, state: RunState, outcome: RoundOutcome) -> None:
        """Write what a round gave."""
        super().round_finished(state, outcome)
        self._write(
            "round-finished",
            round=state.round,
            accuracy=outcome.metrics["accuracy"],
            spent=self._stamp or f"epsilon {largest_epsilon(state):.3f}",
            refused=_reasons(outcome.refused),
            seconds=outcome.seconds,
        )
        self._keep_seen(state)

    def round_failed(self, number: int, refused: Sequence[Refusal]) -> None:
        """Write why nobody took part."""
        self._write("round-failed", round=number, refused=_reasons(refused))

    def ended(self, state: RunState, *, can_go_on: bool) -> None:
        """Write why the run is over."""
        super().ended(state, can_go_on=can_go_on)
        self._write("ended", reason=state.ended, can_go_on=can_go_on)
        self._keep_seen(state)

    @property
    def stop_requested(self) -> bool:
        """Whether another process has left a request to stop."""
        return self._folder.stop_request.exists()

    def _keep_seen(self, state: RunState) -> None:
        """Note how ledgers stand; without that note a status knows less, and nothing else is lost."""
        if self._seen is None:
            return
        try:
            self._seen.keep(client.ledger for client in state.clients.values())
        except (OSError, CheckpointError) as error:
            self._log.warning("ledgers as seen cannot be kept (%s)", type(error).__name__)

    def _write(self, event: str, **fields: Any) -> None:
        """Append an event; a folder that cannot be written fails elsewhere, where it matters."""
        line = json.dumps({"event": event, "time": round(time.time(), 3), **fields})
        try:
            with self._folder.progress.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            self._log.warning("%s cannot be written (%s)", self._folder.progress, error.strerror)


def _reasons(refused: Sequence[Refusal]) -> list[list[int | str]]:
    return [[refusal.partition_id, refusal.reason, refusal.code] for refusal in refused]
