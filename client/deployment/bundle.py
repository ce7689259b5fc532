"""Whether a server speaks from a program that the site permits; its bundle is read here, and never run.

A bundle is a zip file. It is compared file by file with the source that is installed, in memory: nothing of
it is unpacked, imported or put where an import could find it.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping
from functools import lru_cache

from client.policy_file import INSTALLED
from common.code import CONSTANTS, PACKAGES, installed_sources, source_digest
from common.errors import PolicyRefused

_MOST_FILES = 2000
_MOST_BYTES = 64 * 2**20
_SHOWN = 16
_WITHOUT_CODE = frozenset({"pyproject.toml", ".info/CONTENT"})
"""What a bundle holds besides source: settings, which the policy judges, and its own table of contents."""


class BundleJudge:
    """Decides which bundles a server may speak from.

    Args:
        permitted: `installed`, or SHA-256 sums (hex) of bundles.
    """

    def __init__(self, permitted: frozenset[str]) -> None:
        self._pinned = permitted - {INSTALLED}
        self._installed = installed_sources() if INSTALLED in permitted else None
        self._verdict = lru_cache(maxsize=8)(self._judge)

    def refuse_unknown(self, bundle: bytes) -> None:
        """Refuse a bundle that is neither pinned nor made of the source installed here.

        Raises:
            PolicyRefused: says what differs first.
        """
        reason = self._verdict(bundle)
        if reason:
            raise PolicyRefused(reason)

    def _judge(self, bundle: bytes) -> str:
        """Return why a bundle is refused, or nothing."""
        digest = hashlib.sha256(bundle).hexdigest()
        if digest in self._pinned:
            return ""
        named = f"the server's app (SHA-256 {digest[:_SHOWN]}...)"
        if self._installed is None:
            return f"{named} is not among the permitted-apps of its policy"
        try:
            sources = read_sources(bundle)
        except PolicyRefused as error:
            return str(error)
        if sources == self._installed:
            return ""
        return (
            f"{named} is not the one installed here (code {source_digest(self._installed)[:_SHOWN]}...): "
            f"{_first_difference(sources, self._installed)}; install one version on both sides, or pin it"
        )


def read_sources(bundle: bytes) -> dict[str, bytes]:
    """Read a bundle's source files by path, without unpacking them anywhere.

    Raises:
        PolicyRefused: when it is no bundle of ours: damaged, too large, with a file twice or of another kind.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            entries = archive.infolist()
            _refuse_odd(entries)
            return {e.filename: _read(archive, e) for e in entries if e.filename not in _WITHOUT_CODE}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, ValueError, EOFError):
        raise PolicyRefused("the server's app is not a readable bundle") from None


def _refuse_odd(entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > _MOST_FILES or sum(entry.file_size for entry in entries) > _MOST_BYTES:
        raise PolicyRefused("the server's app is larger than any of ours")
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise PolicyRefused("the server's app holds two files of one name")
    for name in names:
        code = name.endswith(".py") and name.split("/")[0] in PACKAGES
        if not (code or name in CONSTANTS or name in _WITHOUT_CODE):
            raise PolicyRefused(f"the server's app holds {_shown(name)}, which none of ours does")


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """Read one file and no more of it than it claims to hold."""
    with archive.open(entry) as file:
        data = file.read(entry.file_size + 1)
    if len(data) != entry.file_size:
        raise PolicyRefused(f"the server's app is not a readable bundle: {_shown(entry.filename)}")
    return data


def _first_difference(theirs: Mapping[str, bytes], ours: Mapping[str, bytes]) -> str:
    for name in sorted(theirs.keys() | ours.keys()):
        if name not in ours:
            return f"{_shown(name)} is not installed here"
        if theirs.get(name) != ours[name]:
            return f"{_shown(name)} {'differs' if name in theirs else 'is missing'}"
    return "nothing differs"


def _shown(name: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in name[:80])
