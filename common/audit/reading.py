"""Files of a run as they are read: whole, and with an error that names the file."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from common.errors import CheckpointError


class Record(BaseModel):
    """A line or file of a run folder: frozen, and open to fields that a later version adds."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


R = TypeVar("R", bound=Record)


def read_text(path: Path) -> str:
    """Read a file of text, or raise CheckpointError."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing: give a folder that `fedledger simulate` wrote") from None
    except (OSError, UnicodeDecodeError) as error:
        raise unreadable(path, error) from None


def read_optional(path: Path, kind: type[R]) -> R | None:
    """Read a file that holds one record, if there is one."""
    return parse(kind, read_text(path), path.name) if path.exists() else None


def parse(kind: type[R], text: str, where: str) -> R:
    """Read one record.

    Raises:
        CheckpointError: when the text is not JSON, or not what a run writes.
    """
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


def file_hash(path: Path) -> str | None:
    """Return the SHA-256 (hex) of a file, None where there is none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from None


def unreadable(path: Path, error: Exception) -> CheckpointError:
    """Return the error for a file that is there and cannot be read."""
    return CheckpointError(f"{path} cannot be read ({type(error).__name__}): put back what the run wrote")
