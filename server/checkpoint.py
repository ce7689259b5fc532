"""What a stopped run continues from: written atomically after every round, without pickle."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError

from common.arrays import Arrays, from_bytes, to_bytes
from common.config import FederationSettings
from common.errors import CheckpointError
from common.protocol import Refusal
from common.run_folder import RunFolder, append_line, write_atomically
from server.state import KnownLedger, RoundOutcome, RunState

_SCHEMA = "fedledger-checkpoint/1"
_MODEL, _VELOCITY, _SECOND, _AVERAGE = "model.", "velocity.", "second-moment.", "average."
_VARIATE = "variate-{}."


def save_state(folder: RunFolder, state: RunState) -> None:
    """Make `state` what a resumed run starts from.

    The arrays go into a new file first; the state file that names it, and its hash, is replaced last. A
    crash anywhere leaves the earlier checkpoint whole.
    """
    arrays = {_MODEL + name: value for name, value in state.arrays.items()}
    arrays |= {_VELOCITY + name: value for name, value in state.velocity.items()}
    arrays |= {_SECOND + name: value for name, value in (state.second_moment or {}).items()}
    arrays |= {_AVERAGE + name: value for name, value in (state.average or {}).items()}
    for number, variate in (state.variates or {}).items():
        arrays |= {_VARIATE.format(number) + name: value for name, value in variate.items()}
    data = to_bytes(arrays)
    name = f"round-{state.round:06d}.safetensors"
    write_atomically(folder.checkpoint / name, data)
    record = {
        "schema": _SCHEMA,
        "run": state.run,
        "round": state.round,
        "ended": state.ended,
        "arrays": name,
        "sha256": hashlib.sha256(data).hexdigest(),
        "variates": None if state.variates is None else sorted(state.variates),
        "retired": [
            {"partition_id": r.partition_id, "code": r.code, "reason": r.reason}
            for r in state.retired.values()
        ],
        "ledgers": {
            str(number): {"entries": known.entries, "head": known.head}
            for number, known in state.seen.items()
        },
    }
    write_atomically(folder.checkpoint / "state.json", json.dumps(record, indent=1).encode())
    for old in folder.checkpoint.glob("round-*.safetensors"):
        if old.name != name:
            old.unlink()


def load_state(folder: RunFolder) -> RunState:
    """Read the last checkpoint.

    Raises:
        CheckpointError: when there is none, or its bytes are not what was written.
    """
    record = _read_record(folder)
    arrays = _read_arrays(folder, record)
    return RunState(
        run=record.run,
        round=record.round,
        ended=record.ended,
        arrays=_part(arrays, _MODEL),
        velocity=_part(arrays, _VELOCITY),
        second_moment=_part(arrays, _SECOND) or None,
        average=_part(arrays, _AVERAGE) or None,
        variates=_variates(arrays, record),
        retired={refusal.partition_id: refusal for refusal in record.retired},
        known=record.ledgers,
    )


def require_kind(folder: RunFolder, state: RunState, federation: FederationSettings) -> None:
    """Refuse settings under which a run's state would lack something, or hold too much.

    Raises:
        CheckpointError: names the setting.
    """
    adaptive = federation.server_optimizer != "sgd"
    for name, value, fits in (
        ("model-average", federation.model_average, (state.average is not None) == federation.keeps_average),
        (
            "drift-correction",
            federation.drift_correction,
            (state.variates is not None) == federation.corrects_drift,
        ),
        ("server-optimizer", federation.server_optimizer, (state.second_moment is not None) == adaptive),
    ):
        if not fits:
            raise CheckpointError(
                f"federation.{name} = {value!r} is not how {folder.root} began: resume with its own "
                "settings, or start a new run"
            )


def record_round(folder: RunFolder, state: RunState, outcome: RoundOutcome, details: dict[str, Any]) -> None:
    """Write one finished round: its line, its evaluation, its model, and last the checkpoint."""
    append_line(folder.rounds, outcome.line)
    evaluation = {"round": outcome.round, **details}
    write_atomically(folder.evaluation, json.dumps(evaluation, indent=1).encode())
    write_atomically(folder.model, to_bytes(state.result))
    save_state(folder, state)


def forget_unfinished(folder: RunFolder, rounds: int) -> None:
    """Cut lines of rounds that the checkpoint does not hold; those rounds are computed again.

    Raises:
        CheckpointError: when lines of rounds that it does hold are missing.
    """
    try:
        lines = folder.rounds.read_text(encoding="utf-8").splitlines() if folder.rounds.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{folder.rounds} cannot be read ({type(error).__name__}): put back what the run wrote"
        ) from None
    if len(lines) < rounds:
        raise CheckpointError(
            f"{folder.rounds} holds {len(lines)} of the {rounds} rounds that are done: put it back"
        )
    write_atomically(folder.rounds, "".join(line + "\n" for line in lines[:rounds]).encode())


class _Record(BaseModel):
    """state.json, as far as it is read back."""

    model_config = ConfigDict(frozen=True)

    run: str
    round: int = Field(ge=0)
    ended: str
    arrays: str = Field(pattern=r"^round-\d{6,}\.safetensors$")
    sha256: str
    variates: list[int] | None = None
    retired: list[Refusal]
    ledgers: dict[int, KnownLedger]


def _read_record(folder: RunFolder) -> _Record:
    path = folder.checkpoint / "state.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder.root} holds no checkpoint: start a new run instead of --resume"
        ) from None
    except (OSError, ValueError):
        raise CheckpointError(f"{path} cannot be read as a checkpoint: start a new run") from None
    if not isinstance(record, dict) or record.get("schema") != _SCHEMA:
        raise CheckpointError(f"{path} is not of schema {_SCHEMA}: resume with the version that wrote it")
    try:
        return _Record.model_validate(record)
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise CheckpointError(f"{path} is damaged ({field} is missing or odd): start a new run") from None


def _read_arrays(folder: RunFolder, record: _Record) -> Arrays:
    path = folder.checkpoint / record.arrays
    try:
        data = path.read_bytes()
    except OSError:
        raise CheckpointError(f"{path} is missing: put it back, or start a new run") from None
    if hashlib.sha256(data).hexdigest() != record.sha256:
        raise CheckpointError(f"{path} is damaged (its SHA-256 differs): put it back, or start a new run")
    try:
        return from_bytes(data)
    except SafetensorError:
        raise CheckpointError(f"{path} is not a safetensors file: put it back, or start a new run") from None


def _variates(arrays: Arrays, record: _Record) -> dict[int, Arrays] | None:
    if record.variates is None:
        return None
    return {number: _part(arrays, _VARIATE.format(number)) for number in record.variates}


def _part(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): np.array(v) for name, v in arrays.items() if name.startswith(prefix)}
