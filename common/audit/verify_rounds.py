"""Hold rounds, ledgers and model against each other: each update was charged, each round follows the last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from common.audit.findings import Finding, error, note, warning
from common.audit.history import Charge, ClientLedger
from common.audit.records import RoundRecord, RunRecords
from common.config import RunConfig
from common.words import counted

_ROUNDS = "rounds.jsonl"


def check_rounds(records: RunRecords, ledgers: Sequence[ClientLedger], run: str) -> Iterator[Finding]:
    """Yield where rounds contradict each other, the ledgers, the model or the test results."""
    yield from _order(records.rounds)
    yield from _models(records)
    yield from _participation(records, ledgers, run)


def check_results(records: RunRecords, config: RunConfig) -> Iterator[Finding]:
    """Yield where results are not what the settings plan, or test results are of another round."""
    yield from _averages(records.rounds, config)
    yield from _completeness(records, config)
    yield from _evaluation(records)


def _order(rounds: Sequence[RoundRecord]) -> Iterator[Finding]:
    for expected, entry in enumerate(rounds, 1):
        if entry.round != expected:
            yield error(
                "rounds-out-of-order",
                f"Round {expected} is missing or out of order: round {entry.round} stands in its place.",
                f"{_ROUNDS} line {expected}",
            )
            return


def _models(records: RunRecords) -> Iterator[Finding]:
    for before, after in pairwise(records.rounds):
        if before.model != after.input_model:
            yield error(
                "model-chain-broken",
                f"Round {after.round} did not start from the model with which round {before.round} ended.",
                f"{_ROUNDS} round {after.round}",
            )
    if not records.rounds:
        return
    if records.model_hash is None:
        yield error("model-missing", "The trained model is not in the run folder.", "model.safetensors")
    elif records.model_hash != records.rounds[-1].result:
        yield error(
            "model-differs",
            "The model in the run folder is not the one with which the last round ended.",
            "model.safetensors",
        )


def _averages(rounds: Sequence[RoundRecord], config: RunConfig) -> Iterator[Finding]:
    """Yield rounds whose result is an average though none is planned, or the other way round."""
    planned = config.federation.keeps_average
    for entry in rounds:
        if (entry.average_model is not None) != planned:
            says = "an average over rounds" if not planned else "no average over rounds"
            yield error(
                "model-average-differs",
                f"Round {entry.round} ended with {says}, unlike the run's settings "
                f"(federation.model-average = {config.federation.model_average!r}).",
                f"{_ROUNDS} round {entry.round}",
            )


def _participation(records: RunRecords, ledgers: Sequence[ClientLedger], run: str) -> Iterator[Finding]:
    by_partition = {ledger.partition_id: ledger for ledger in ledgers}
    by_round = {ledger.partition_id: ledger.by_round(run) for ledger in ledgers}
    unreadable = {ledger.partition_id for ledger in records.damaged}
    used: set[tuple[int, int]] = set()
    for entry in records.rounds:
        if set(entry.participants) != set(entry.updates):
            yield error(
                "participants-differ",
                f"The clients that took part in round {entry.round} are not those whose updates it lists.",
                f"{_ROUNDS} round {entry.round}",
            )
        for partition_id in sorted({*entry.participants, *entry.updates} - unreadable):
            found = _charge_of(entry, partition_id, by_round)
            if isinstance(found, Finding):
                yield found
            else:
                used.add((partition_id, found.sequence))
                yield from _same_input(entry, by_partition[partition_id], found)
    yield from _unused(ledgers, run, used)


def _charge_of(
    entry: RoundRecord, partition_id: int, by_round: Mapping[int, Mapping[int, Sequence[Charge]]]
) -> Charge | Finding:
    """Find the charge that paid for a client's update of a round, or say why there is none."""
    where = f"{_ROUNDS} round {entry.round}"
    who = f"Client {partition_id} took part in round {entry.round}"
    if partition_id not in by_round:
        return error("ledger-missing", f"{who}, but no ledger of that client is there.", where)
    charges = by_round[partition_id].get(entry.round, ())
    if not charges:
        return error("charge-missing", f"{who}, but its ledger holds no charge for it.", where)
    released = [charge for charge in charges if charge.update is not None]
    if not released:
        return error("release-missing", f"{who}, but its ledger says that nothing was released.", where)
    for charge in released:
        if charge.update == entry.updates.get(partition_id):
            return charge
    return error("update-differs", f"{who}, but with another update than its ledger released.", where)


def _same_input(entry: RoundRecord, ledger: ClientLedger, charge: Charge) -> Iterator[Finding]:
    if charge.body.input_model != entry.input_model:
        yield error(
            "input-model-differs",
            f"Client {ledger.partition_id} trained round {entry.round} from another model than the server.",
            ledger.entry(charge),
        )


def _unused(ledgers: Sequence[ClientLedger], run: str, used: set[tuple[int, int]]) -> Iterator[Finding]:
    for ledger in ledgers:
        other = sum(charge.body.run != run for charge in ledger.charges)
        if other:
            yield note(
                "other-runs",
                f"The ledger of client {ledger.partition_id} also holds {counted(other, 'charge')} of other "
                "runs; they count towards its epsilon.",
                ledger.place,
            )
        for charge in ledger.charges:
            counts = (ledger.partition_id, charge.sequence) in used
            if charge.body.run == run and not charge.aborted and not counts:
                yield note(
                    "unused-charge",
                    f"Client {ledger.partition_id} was charged for round {charge.body.round} without an "
                    "update that counted, as after an interruption; the charge stands.",
                    ledger.entry(charge),
                )


def _completeness(records: RunRecords, config: RunConfig) -> Iterator[Finding]:
    planned, done = config.federation.num_server_rounds, len(records.rounds)
    if not done:
        yield warning("no-rounds", "No round was completed, so there is no trained model to judge.", _ROUNDS)
    elif done < planned:
        yield note("run-unfinished", f"The run ended after {done} of {planned} planned rounds.", _ROUNDS)
    elif done > planned:
        yield warning(
            "more-rounds", f"The run has {done} rounds, although its settings plan {planned}.", _ROUNDS
        )


def _evaluation(records: RunRecords) -> Iterator[Finding]:
    evaluation, rounds = records.evaluation, records.rounds
    if evaluation is None or not rounds:
        return
    last = rounds[-1]
    if evaluation.round != last.round or abs(evaluation.accuracy - last.accuracy) > 1e-6:
        yield warning(
            "evaluation-differs",
            f"The detailed test results (round {evaluation.round}, accuracy {evaluation.accuracy:.4f}) are "
            f"not those of the last round (round {last.round}, accuracy {last.accuracy:.4f}).",
            "evaluation.json",
        )
