"""Where a sweep keeps its files, and what it knows of its runs from them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from common.errors import CheckpointError, ConfigError
from common.run_folder import RunFolder, write_atomically
from simulations.sweep.plan import SweepPlan, plan_of

_SCHEMA = "fedledger-sweep-plan/1"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run has come to, as the process that ran it wrote down after its audit.

    Args:
        rounds: that are done.
        accuracy: on the test images after the last of them; None before the first.
        epsilon: largest of all clients, audited; None where nothing limits it.
        delta: that it holds at.
        verified: whether the audit found no error.
        over: whether the run is at its end, rather than stopped on the way.
        images: which images it was trained and tested on, in words.
        seconds: from loading images to the audit, all its parts added up.
        failed: why it failed, in one line; empty if it did not.
    """

    rounds: int = 0
    accuracy: float | None = None
    epsilon: float | None = None
    delta: float = 0.0
    verified: bool = False
    over: bool = False
    images: str = ""
    seconds: float = 0.0
    failed: str = ""


@dataclass(frozen=True)
class SweepFolder:
    """The files of one sweep below `root`."""

    root: Path

    @property
    def plan(self) -> Path:
        """What the sweep does."""
        return self.root / "plan.json"

    @property
    def draws(self) -> Path:
        """The trials that private selection drew: secret, and gone when the best is released."""
        return self.root / "draws.json"

    @property
    def runs(self) -> Path:
        """The folders of all runs, and beside each its result."""
        return self.root / "runs"

    @property
    def logs(self) -> Path:
        """What the runs' processes printed."""
        return self.root / "logs"

    @property
    def best(self) -> Path:
        """The one run that private selection releases."""
        return self.root / "best"

    @property
    def table(self) -> Path:
        """The outcome for programs."""
        return self.root / "sweep.json"

    @property
    def page(self) -> Path:
        """The outcome as a page."""
        return self.root / "sweep.html"

    def run(self, name: str) -> RunFolder:
        """Return the folder of one run."""
        return RunFolder(self.runs / name)

    def result_file(self, name: str) -> Path:
        """Return where a run's result lies."""
        return self.runs / f"{name}.json"

    def log(self, name: str) -> Path:
        """Return what a run's process printed."""
        return self.logs / f"{name}.txt"

    def result(self, name: str) -> Result | None:
        """Return what is known of a run; None before its process has ended once, or if its folder is gone."""
        file = self.result_file(name)
        if not file.exists():
            return None
        try:
            result = Result(**json.loads(file.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            return None  # the run itself is whole or resumed, and its result is written anew
        return result if result.failed or (self.run(name).root / "report.json").exists() else None

    def keep_result(self, name: str, result: Result) -> None:
        """Write down what a run has come to."""
        write_atomically(self.result_file(name), json.dumps(asdict(result)).encode())

    def forget_failure(self, name: str) -> None:
        """Let a run that failed be tried again."""
        result = self.result(name)
        if result and result.failed:
            self.result_file(name).unlink()

    def accuracies(self, name: str) -> list[float]:
        """Return a run's accuracy after each round so far."""
        file = self.run(name).rounds
        if not file.exists():
            return []
        lines = file.read_text(encoding="utf-8").split("\n")[:-1]  # what is being written has no newline yet
        return [float(json.loads(line)["accuracy"]) for line in lines]


def begin(root: Path, plan: SweepPlan) -> SweepFolder:
    """Make a folder for a new sweep.

    Raises:
        ConfigError: when there is a file, another sweep, or anything else in its place.
    """
    folder = SweepFolder(root.expanduser().absolute())
    if folder.root.is_file():
        raise ConfigError(f"{root} is a file: choose a folder for --out that is new or empty")
    if folder.plan.exists():
        settings = "these settings" if read_plan(root) == plan else "other settings"
        raise ConfigError(
            f"{root} holds a sweep of {settings}: go on with it with --resume {root}, or choose another --out"
        )
    if folder.root.is_dir() and any(folder.root.iterdir()):
        raise ConfigError(f"{root} is not empty: choose a folder for --out that is new or empty")
    record: dict[str, Any] = {"schema": _SCHEMA} | plan.to_json()
    write_atomically(folder.plan, json.dumps(record, indent=1).encode())
    return folder


def read_plan(root: Path) -> SweepPlan:
    """Read what the sweep in a folder does.

    Raises:
        CheckpointError: when the folder holds no sweep, or not one that can be read.
    """
    file = SweepFolder(root.expanduser().absolute()).plan
    if not file.exists():
        raise CheckpointError(f"{root} is not a sweep's folder (no plan.json in it): name one, or begin anew")
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        schema = record.pop("schema")
        plan = plan_of(record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ConfigError):
        raise CheckpointError(f"{file} is damaged: put it back, or begin a sweep in another folder") from None
    if schema != _SCHEMA:
        raise CheckpointError(f"{file} has the form {schema!r:.60}, permitted is {_SCHEMA}: begin anew")
    return plan
