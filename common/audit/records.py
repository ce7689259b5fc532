"""Read a run folder as a stranger would: files only, trusting none of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from common.audit.evaluation import Evaluation, Partitions
from common.audit.ledger_files import DamagedLedger, find_ledgers, find_strays, number_of, read_ledgers
from common.audit.reading import Record, file_hash, parse, read_optional, read_text, unreadable
from common.audit.server_records import DamagedLog, ServerRecords, read_server
from common.config import RunConfig, read_toml, resolve
from common.errors import CheckpointError, ConfigError
from common.ledger import LedgerView
from common.run_folder import RunFolder


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
    average_model: str | None = None

    @property
    def result(self) -> str:
        """Hash of the model that the run would give if this were its last round."""
        return self.model if self.average_model is None else self.average_model


class KnownLedger(Record):
    """How far a ledger was when the run last saved its state."""

    entries: int = Field(ge=1)
    head: str


class _State(Record):
    """checkpoint/state.json, as far as an audit needs it."""

    ledgers: dict[int, KnownLedger] = Field(default_factory=dict)


Subject = Literal["run", "ledgers", "ledger", "log"]
"""What is audited: a run's folder, ledgers with or without a server's log, one ledger, or a log alone."""


@dataclass(frozen=True, kw_only=True)
class RunRecords:
    """Everything that a run left behind; of ledgers or a log alone, what there is.

    Args:
        config: the run's settings, None where no run is audited.
        round_hashes: SHA-256 (hex) of each line of rounds.jsonl.
        ledgers: verified ledgers by partition.
        places: names of the ledgers' files by partition, for findings.
        damaged: ledgers whose chain, signatures or form do not hold.
        stray_ledgers: files among the ledgers that belong to no client, for findings.
        server: the server's log, None where there is none.
        known: how far the run's last saved state had seen each ledger.
        model_hash: SHA-256 of model.safetensors, None where there is none.
    """

    root: Path
    subject: Subject = "run"
    config: RunConfig | None = None
    rounds: tuple[RoundRecord, ...] = ()
    round_hashes: tuple[str, ...] = ()
    ledgers: dict[int, LedgerView] = field(default_factory=dict)
    places: dict[int, str] = field(default_factory=dict)
    damaged: tuple[DamagedLedger, ...] = ()
    stray_ledgers: tuple[str, ...] = ()
    server: ServerRecords | DamagedLog | None = None
    known: dict[int, KnownLedger] = field(default_factory=dict)
    model_hash: str | None = None
    evaluation: Evaluation | None = None
    partitions: Partitions | None = None


def read_run(path: Path) -> RunRecords:
    """Read a run folder; a damaged ledger or log is reported, not raised.

    Raises:
        CheckpointError: when the folder is no run, or one of its files is not what a run writes.
    """
    folder = _run_folder(path)
    config, lines = _read_config(folder.config), _read_lines(folder.rounds)
    return replace(
        read_home(path),
        subject="run",
        config=config,
        rounds=tuple(
            parse(RoundRecord, line, f"{folder.rounds.name} line {number}")
            for number, line in enumerate(lines, 1)
        ),
        round_hashes=tuple(hashlib.sha256(line.encode()).hexdigest() for line in lines),
        known=_read_known(folder.checkpoint / "state.json"),
        model_hash=file_hash(folder.model),
        evaluation=read_optional(folder.evaluation, Evaluation),
        partitions=read_optional(folder.partitions, Partitions),
    )


def read_home(path: Path) -> RunRecords:
    """Read the ledgers and the server's log below a run's folder or a ledger home.

    Raises:
        CheckpointError: when it holds no ledger.
    """
    return replace(read_folder(path / "ledgers", root=path), server=read_server(path / "server"))


def read_folder(folder: Path, *, root: Path) -> RunRecords:
    """Read a folder of ledgers.

    Args:
        root: the folder that findings name files from.

    Raises:
        CheckpointError: when it holds no ledger.
    """
    files = find_ledgers(folder)
    if not files:
        raise CheckpointError(f"{folder} holds no ledger client-<number>.jsonl: put the ledgers back")
    ledgers, damaged = read_ledgers(files, root)
    return RunRecords(
        root=root,
        subject="ledgers",
        ledgers=ledgers,
        places={number: file.relative_to(root).as_posix() for number, file in files.items()},
        damaged=damaged,
        stray_ledgers=find_strays(folder, root),
    )


def read_one_ledger(file: Path) -> RunRecords:
    """Read a single ledger; where its name gives no client's number, that is 0.

    Raises:
        CheckpointError: when the file is no ledger at all, or cannot be read.
    """
    try:
        if b'"entry"' not in file.read_bytes():
            raise CheckpointError(
                f"{file} is not a ledger: give one, a run folder, a folder of ledgers or a server's log"
            )
    except OSError as error:
        raise unreadable(file, error) from None
    files = {number_of(file) or 0: file}
    ledgers, damaged = read_ledgers(files, file.parent)
    places = dict.fromkeys(files, file.name)
    return RunRecords(root=file.parent, subject="ledger", ledgers=ledgers, places=places, damaged=damaged)


def read_log_alone(folder: Path) -> RunRecords:
    """Read a server's log without any ledger."""
    return RunRecords(root=folder, subject="log", server=read_server(folder))


def _run_folder(path: Path) -> RunFolder:
    if not path.is_dir():
        raise CheckpointError(f"{path} is not a run folder: give the folder that `fedledger simulate` wrote")
    if not RunFolder(path).config.exists():
        raise CheckpointError(
            f"{path} is not a run folder (no config.toml in it): give one that `fedledger simulate` wrote"
        )
    if RunFolder(path).personal.exists():
        raise CheckpointError(
            f"{path} holds a personal model, which no epsilon covers: name the folder of a run"
        )
    return RunFolder(path)


def _read_config(path: Path) -> RunConfig:
    try:
        return resolve(read_toml(path))
    except ConfigError as error:
        raise CheckpointError(f"the run's settings cannot be read: {error}") from None


def _read_lines(path: Path) -> list[str]:
    """Return the lines of a file; a last one without newline counts, too."""
    text = read_text(path)
    return text.removesuffix("\n").split("\n") if text else []


def _read_known(path: Path) -> dict[int, KnownLedger]:
    """Return what the run's last saved state knows of ledgers: it is no record, so a damaged one is none."""
    try:
        state = read_optional(path, _State)
    except CheckpointError:
        return {}
    return state.ledgers if state else {}
