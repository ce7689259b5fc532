"""The loop over rounds: each a function from one state to the next, written before the next begins."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from flwr.serverapp import Grid

from common.arrays import digest
from common.config import RunConfig
from common.errors import CheckpointError, RoundFailed
from common.messages import pack_arrays, train_request_record
from common.models import initial_arrays
from common.protocol import Reply, TrainRequest
from common.run_folder import RunFolder, write_atomically
from common.words import counted
from server.answers import Answers
from server.checkpoint import forget_unfinished, load_state, record_round, require_kind, save_state
from server.copies import LedgerCopies
from server.drift import DriftCorrection, drift_of
from server.evaluation import Evaluator
from server.exchange import WITHOUT_MODEL_BYTES, Question, ask, notify
from server.joining import join, part
from server.observer import RunObserver
from server.optimizers import Moments, initial_moments
from server.proposals import Asked
from server.receipts import ReceiptBook
from server.state import RoundOutcome, RunState
from server.strategy import FedAvg


@dataclass(frozen=True, kw_only=True)
class Coordinator:
    """What stays the same over all rounds of a run."""

    grid: Grid
    config: RunConfig
    folder: RunFolder
    evaluator: Evaluator
    observer: RunObserver
    book: ReceiptBook
    copies: LedgerCopies | None = None

    def run(self) -> RunState:
        """Run all rounds that are left, from the checkpoint if there is one.

        Returns:
            The last state. A run that ends early (too few clients can go on, or a stop was asked for) is
            complete up to there.

        Raises:
            RoundFailed: when not one client could join, or the first round gave nothing.
            CheckpointError: when the run folder cannot be read or written.
        """
        time_limit = self.config.federation.time_limit
        state = join(
            self.grid,
            self._start(),
            self.observer,
            self.book,
            classes=self.evaluator.classes,
            images=self.config.data.dataset,
            time_limit=time_limit,
        )
        strategy = FedAvg(self.config, tuple(state.clients))
        while not (reason := self._why_stop(state)):
            state = self.run_round(state, strategy)
        state = replace(part(self.grid, state, self.book, time_limit=time_limit), ended=reason)
        self._keep_copies(state)
        save_state(self.folder, state)
        self.observer.ended(state, can_go_on=state.can_go_on(self.config.federation))
        return state

    def run_round(self, state: RunState, strategy: FedAvg) -> RunState:
        """Ask a cohort, average what is usable, evaluate, and write it all down."""
        started = time.monotonic()
        number = state.round + 1
        drift = drift_of(state, strategy)
        answers = Answers(state, strategy, drift)
        asked = self._asked(state, strategy, number)
        for question, reply in self._ask_cohort(state, asked, number, drift):
            answers.take(question.partition_id, reply, asked[question.partition_id])
        notify(self.grid, state.run, answers.not_taken)
        self._require_a_start(number, answers, len(state.clients))
        after = replace(
            self._moved(state, strategy, number, answers),
            round=number,
            variates=answers.variates,
            clients=state.clients | answers.clients,
            retired=state.retired | answers.retired,
            turned_away=(),
            ended=self._lack_of_quorum(number, len(answers.updates), len(asked)),
        )
        evaluation = self.evaluator.evaluate(after.result)
        outcome = RoundOutcome(
            round=number,
            updates=answers.updates,
            refused=tuple(answers.refused),
            turned_away=tuple(one.refusal for one in state.turned_away),
            input_model=digest(state.arrays),
            model=digest(after.arrays),
            average_model="" if after.average is None else digest(after.average),
            metrics=evaluation.metrics,
            seconds=time.monotonic() - started,
        )
        confirmed = [client.ledger for client in answers.clients.values()]
        self.book.confirm(confirmed, outcome.line, state.run, number)
        self._keep_copies(after)
        record_round(self.folder, after, outcome, evaluation.details)
        self.observer.round_finished(after, outcome)
        return after

    def _moved(self, state: RunState, strategy: FedAvg, number: int, answers: Answers) -> RunState:
        """Return the state with the round's model; without a usable answer nothing moves."""
        if not answers.updates:
            return state
        before = Moments(first=state.velocity, second=state.second_moment)
        arrays, after = strategy.next_model(state.arrays, before, answers.mean.mean())
        average = strategy.next_average(state.average, arrays, number)
        return replace(
            state, arrays=arrays, velocity=after.first, second_moment=after.second, average=average
        )

    def _keep_copies(self, state: RunState) -> None:
        """Write ledgers before what is saved of a run names their entries."""
        if self.copies is not None:
            self.copies.keep(state.clients.values())

    def _asked(self, state: RunState, strategy: FedAvg, number: int) -> dict[int, Asked]:
        """Return what each client of the round's cohort is asked, by partition."""
        input_model = digest(state.arrays)
        cohort = [state.clients[p] for p in strategy.cohort(number) if p not in state.retired]
        return {
            client.partition_id: Asked(
                proposal=strategy.proposal(client.partition_id, number),
                num_examples=client.num_examples,
                input_model=input_model,
                nonce=self.book.nonce(state.run, number, client.ledger.genesis.ledger_id),
                reproducible_noise=self.config.privacy.reproducible_noise,
            )
            for client in cohort
        }

    def _ask_cohort(
        self, state: RunState, asked: dict[int, Asked], number: int, drift: DriftCorrection | None
    ) -> Iterator[tuple[Question, Reply]]:
        packed = pack_arrays(state.arrays)
        questions = []
        for client in [state.clients[partition_id] for partition_id in asked]:
            request = TrainRequest(
                run=state.run,
                round=number,
                arrays=state.arrays,
                proposal=asked[client.partition_id].proposal,
                server_nonce=asked[client.partition_id].nonce,
                known_entries=len(client.ledger.entries),
                deliveries=self.book.deliveries(client.ledger),
                correction=None if drift is None else drift.for_client(client.partition_id),
            )
            record = train_request_record(request, packed)
            questions.append(Question(client.node_id, client.partition_id, record))
        self.observer.round_started(number, len(questions))
        return ask(
            self.grid,
            "train",
            str(number),
            questions,
            self.observer.client_answered,
            time_limit=self.config.federation.time_limit,
            most_bytes=WITHOUT_MODEL_BYTES + 2 * sum(array.nbytes for array in state.arrays.values()),
        )

    def _start(self) -> RunState:
        if (self.folder.checkpoint / "state.json").exists():
            state = replace(load_state(self.folder), ended="")
            require_kind(self.folder, state, self.config.federation)
            forget_unfinished(self.folder, state.round)
            return state
        if self.folder.rounds.exists():
            raise CheckpointError(
                f"{self.folder.checkpoint}/state.json is missing, though rounds are done: put it back, or "
                "start a new run"
            )
        arrays = initial_arrays(
            self.config.model.name, num_classes=len(self.evaluator.classes), seed=self.config.runtime.seed
        )
        moments = initial_moments(self.config.federation, arrays)
        state = RunState(
            run=secrets.token_hex(8),
            round=0,
            arrays=arrays,
            velocity=moments.first,
            second_moment=moments.second,
            average=arrays if self.config.federation.keeps_average else None,
            variates={} if self.config.federation.corrects_drift else None,
        )
        save_state(self.folder, state)
        write_atomically(self.folder.rounds, b"")
        return state

    def _require_a_start(self, number: int, answers: Answers, clients: int) -> None:
        """End a run whose every client refuses or fails at once: its settings cannot work."""
        if number == 1 and len(answers.refused) == clients:
            self.observer.round_failed(number, answers.refused)
            first = answers.refused[0]
            raise RoundFailed(f"no client took part in round 1; client {first.partition_id}: {first.reason}")

    def _lack_of_quorum(self, number: int, updates: int, asked: int) -> str:
        """Say that too few answered, where a time limit makes that a matter of chance, and nothing else."""
        needed = min(self.config.federation.min_train_clients, asked)
        if self.config.federation.time_limit is None or updates >= needed:
            return ""
        had = counted(updates, "usable answer")
        return f"round {number} stands with {had}, but {needed} are needed to go on; it can be resumed"

    def _why_stop(self, state: RunState) -> str:
        federation = self.config.federation
        if state.ended:
            return state.ended
        if state.round >= federation.num_server_rounds:
            return "the one round is done" if state.round == 1 else f"all {state.round} rounds are done"
        if self.observer.stop_requested:
            return f"stopped after round {state.round}; it can be resumed"
        needed = state.needed(federation.min_train_clients)
        if len(state.active) < needed:
            return f"{len(state.active)} of {len(state.clients)} clients can go on and {needed} are needed"
        return ""
