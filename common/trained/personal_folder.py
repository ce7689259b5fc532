"""The folder of a personal model: what `predict` and `explain` read, and what says whose it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from common.arrays import digest, to_bytes
from common.config import to_toml
from common.errors import ConfigError
from common.run_folder import RunFolder, write_atomically
from common.trained.loading import TrainedModel
from common.trained.personalising import Personal, Plan

SCHEMA = "fedledger-personal/1"
WARNING = "As private as the images that it was trained on: no epsilon covers it. Do not share it."


def refuse_place(out: Path, run: Path) -> None:
    """Refuse a folder that is not new or empty, or that would travel with the run's.

    Raises:
        ConfigError: says which.
    """
    if out.expanduser().resolve().is_relative_to(run.expanduser().resolve()):
        raise ConfigError(
            f"--out {out} lies in the run's folder, which may be shared; a personal model may not: choose "
            "another place"
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out} is not an empty folder: choose one that is new or empty")


def write_personal(out: Path, trained: TrainedModel, personal: Personal, plan: Plan) -> None:
    """Write a personal model, readable for nobody else on this machine.

    Args:
        out: new or empty.
        trained: the run's model, from which it began.
        personal: what was trained.
        plan: how.

    Raises:
        CheckpointError: when the file system refuses.
    """
    out.mkdir(mode=0o700, parents=True, exist_ok=True)
    out.chmod(0o700)
    folder = RunFolder(out)
    write_atomically(folder.personal, _json(_about(trained, personal, plan)))
    write_atomically(folder.evaluation, _json({"classes": list(trained.classes)}))
    write_atomically(folder.model, to_bytes(personal.arrays))
    write_atomically(folder.config, to_toml(trained.config).encode())


def _about(trained: TrainedModel, personal: Personal, plan: Plan) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "privacy": WARNING,
        "run": trained.folder.root.name,
        "run_model_sha256": trained.digest,
        "model_sha256": digest(personal.arrays),
        "epochs": plan.epochs,
        "learning_rate": plan.learning_rate,
        "num_trained": personal.num_trained,
        "num_held_out": personal.num_held_out,
        "accuracy_before": personal.before,
        "accuracy_after": personal.after,
    }


def _json(record: dict[str, Any]) -> bytes:
    return json.dumps(record, indent=1, ensure_ascii=False).encode() + b"\n"
