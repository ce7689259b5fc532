"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def write_new_file(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file that survives a crash right after this returns and is never overwritten.

    Its folder is made where it is missing. The temporary file is always a new one: one that a crash left
    behind may be the finished file under a second name, which must not be written through.

    Raises:
        FileExistsError: when the path exists; it is left as it is.
        OSError: when the disk refuses.
    """
    make_folder(path.parent, mode=0o777)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        _write(temporary, data, mode)
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def replace_file(path: Path, data: bytes, *, mode: int) -> None:
    """Put a file in the place of an older one; a crash leaves all of the old bytes or all of the new ones.

    Raises:
        OSError: when the disk refuses; the new bytes may stand already, though not durably.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.unlink(missing_ok=True)
    _write(temporary, data, mode)
    temporary.replace(path)
    sync_folder(path.parent)


def make_folder(folder: Path, *, mode: int) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        NotADirectoryError: when a file has its name.
        OSError: when the disk refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=mode)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None


def check_complete(written: int, data: bytes) -> None:
    """Raise OSError when a write took fewer bytes than it was given: the disk is full."""
    if written != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def sync_folder(folder: Path) -> None:
    """Make durable which names a folder holds.

    Raises:
        OSError: when the disk refuses.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        check_complete(os.write(descriptor, data), data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
