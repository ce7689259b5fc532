"""Files that only their owner may read, and that are written once."""

from __future__ import annotations

import os
from pathlib import Path

from common.errors import ConfigError


def make_private_folder(folder: Path) -> None:
    """Create a folder that only its owner may enter; leave one that is there as it is.

    Raises:
        ConfigError: when it cannot be created, or a file stands in its place.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be used as a folder ({error.strerror}): name another") from None


def write_once(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Write a file that must not exist yet, durably and with its mode from the first byte on.

    Raises:
        ConfigError: when it exists, or the file system refuses.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise ConfigError(f"{path} exists and is never overwritten: name another place") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}): name another place") from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_private(path: Path, data: bytes) -> None:
    """Replace a file of mode 0600 in one step: readers see all of the old bytes or all of the new ones.

    Raises:
        ConfigError: when the file system refuses; the old content stands.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    write_once(temporary, data)
    temporary.replace(path)


def read_file(path: Path, what: str) -> bytes:
    """Return a file's bytes.

    Args:
        what: what the file should hold, for the message.

    Raises:
        ConfigError: when it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read as {what} ({error.strerror}): name the right file"
        ) from None
