"""Read a run folder as a stranger would: files only, trusting none of them."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.config import RunConfig, read_toml, resolve
from common.errors import CheckpointError, ConfigError, LedgerError
from common.ledger import LedgerView, read_ledger
from common.run_folder import RunFolder

_LEDGER_NAME = re.compile(r"client-(0|[1-9][0-9]{0,8})\.jsonl")


class Record(BaseModel):
    """A line or file of a run folder: frozen, and open to fields that a later version adds."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Refusal(Record):
    """A client that did not train in a round, and why."""

    partition_id: int
    code: str
    reason: str = ""


class RoundRecord(Record):
    """One line of rounds.jsonl: what the server says happened in a round."""

    round: int = Field(ge=1)
    accuracy: float
    loss: float | None = None
    participants: tuple[int, ...]
    refused: tuple[Refusal, ...] = ()
    input_model: str
    model: str
    updates: dict[int, str]


class ClassResult(Record):
    """Test results of one class."""

    name: str = Field(alias="class")
    precision: float
    recall: float
    f1: float
    support: int


class Evaluation(Record):
    """evaluation.json: the final model on public test images.

    `confusion[i][j]` counts images of class i that the model takes for class j.
    """

    round: int
    num_examples: int
    accuracy: float
    balanced_accuracy: float
    precision: float
    recall: float
    f1: float
    classes: tuple[str, ...]
    per_class: tuple[ClassResult, ...]
    confusion: tuple[tuple[int, ...], ...]


class Partitions(Record):
    """partitions.json: which labels each client holds; only a simulator can know."""

    dataset: str
    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, kw_only=True)
class DamagedLedger:
    """A ledger that cannot be trusted, and the reason in one line."""

    partition_id: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class RunRecords:
    """Everything that a run left behind.

    Args:
        ledgers: verified ledgers by partition.
        damaged: ledgers whose chain, signatures or form do not hold.
        stray_ledgers: names of files among the ledgers that belong to no client.
        model_hash: SHA-256 of model.safetensors, None where there is none.
    """

    root: Path
    config: RunConfig
    rounds: tuple[RoundRecord, ...]
    ledgers: dict[int, LedgerView]
    damaged: tuple[DamagedLedger, ...]
    stray_ledgers: tuple[str, ...]
    model_hash: str | None
    evaluation: Evaluation | None
    partitions: Partitions | None


def read_run(path: Path) -> RunRecords:
    """Read a run folder; a damaged ledger is reported, not raised.

    Raises:
        CheckpointError: when the folder is no run, or one of its files is not what a run writes.
    """
    if not path.is_dir():
        raise CheckpointError(f"{path} is not a run folder: give the folder that `fedledger simulate` wrote")
    folder = RunFolder(path)
    if not folder.config.exists():
        raise CheckpointError(
            f"{path} is not a run folder (no config.toml in it): give one that `fedledger simulate` wrote"
        )
    config, rounds = _read_config(folder.config), _read_rounds(folder.rounds)
    files = _ledger_files(folder.ledger(0).parent)
    ledgers, damaged = _read_ledgers(files)
    return RunRecords(
        root=path,
        config=config,
        rounds=rounds,
        ledgers=ledgers,
        damaged=damaged,
        stray_ledgers=_stray(folder.ledger(0).parent, files),
        model_hash=_file_hash(folder.model),
        evaluation=_read_optional(folder.evaluation, Evaluation),
        partitions=_read_optional(folder.partitions, Partitions),
    )


def _read_config(path: Path) -> RunConfig:
    try:
        return resolve(read_toml(path))
    except ConfigError as error:
        raise CheckpointError(f"the run's settings cannot be read: {error}") from None


def _read_rounds(path: Path) -> tuple[RoundRecord, ...]:
    lines = _read_text(path).splitlines()
    return tuple(
        _parse(RoundRecord, line, f"{path.name} line {number}") for number, line in enumerate(lines, 1)
    )


def _ledger_files(folder: Path) -> dict[int, Path]:
    files = {
        int(match[1]): file for file in folder.glob("*.jsonl") if (match := _LEDGER_NAME.fullmatch(file.name))
    }
    if not files:
        raise CheckpointError(f"{folder} holds no ledger client-<number>.jsonl: put the ledgers back")
    return dict(sorted(files.items()))


def _stray(folder: Path, files: dict[int, Path]) -> tuple[str, ...]:
    return tuple(sorted(file.name for file in folder.glob("*.jsonl") if file not in files.values()))


def _read_ledgers(files: dict[int, Path]) -> tuple[dict[int, LedgerView], tuple[DamagedLedger, ...]]:
    ledgers, damaged = {}, []
    for partition_id, file in files.items():
        try:
            ledgers[partition_id] = read_ledger(file)
        except (LedgerError, OSError) as error:
            damaged.append(DamagedLedger(partition_id=partition_id, reason=str(error)))
    return ledgers, tuple(damaged)


_R = TypeVar("_R", bound=Record)


def _read_optional(path: Path, kind: type[_R]) -> _R | None:
    return _parse(kind, _read_text(path), path.name) if path.exists() else None


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: give a folder that `fedledger simulate` wrote") from None
    except (OSError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}): put back what the run wrote"
        ) from None


def _parse(kind: type[_R], text: str, where: str) -> _R:
    try:
        value: Any = json.loads(text)
        return kind.model_validate(value)
    except json.JSONDecodeError as error:
        raise CheckpointError(
            f"{where} is not JSON (column {error.colno}): the file was cut or edited"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise CheckpointError(f"{where}: {field} is not what a run writes ({first['msg']})") from None


def _file_hash(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({type(error).__name__}): put back what the run wrote"
        ) from None
