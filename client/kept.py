"""Finished updates, kept so that the very same bytes can be sent again at no charge.

An update is written before its RELEASE: whatever happens then, what was charged can still be sent. Sending
the same bytes again tells nobody anything new; computing again would be another release, and another charge.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from common.arrays import Arrays, digest, from_bytes, to_bytes
from common.errors import PolicyRefused
from common.ledger import Abort, Entry, Ledger, LedgerView, Release, Reserve
from common.protocol import TrainRequest
from common.run_folder import write_atomically

_MOST_KEPT = 8
"""Rounds that failed on the server are never acknowledged; no more than so many updates wait for it."""

_log = logging.getLogger("fedledger.client")


@dataclass(frozen=True, kw_only=True)
class _Kept:
    arrays: Arrays
    digest: str


class KeptUpdates:
    """One client's finished updates, in a folder of its own.

    Args:
        folder: created when first needed.

    Privacy: a kept update has its noise and its charge; it is what left, or was about to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, request: TrainRequest, update: Arrays, view: LedgerView) -> None:
        """Write an update durably, before its RELEASE, and let go of those that are no longer needed.

        Raises:
            CheckpointError: when the disk refuses; nothing may be released then.
        """
        path = self._path(request.run, request.round, digest(request.arrays))
        write_atomically(path, to_bytes(update))
        self._forget(path, view)

    def again(self, request: TrainRequest, ledger: Ledger) -> Arrays | None:
        """Return the update that was computed for this very request, released and charged; else None.

        The RELEASE that a crash prevented is made up for.

        Raises:
            PolicyRefused: when the server has confirmed this round and is not to have it computed again, or
                gives a number that it gave for another round.
        """
        _refuse_used_number(request, ledger.view)
        model = digest(request.arrays)
        charge = _charge(ledger.view, request.run, request.round, model)
        if charge is None:
            return None
        kept = self._read(self._path(request.run, request.round, model))
        release = _release_of(ledger.view, charge)
        if kept is None:
            _refuse_confirmed(release, ledger.view)
            return None
        if release is None:
            body = Release(run=request.run, round=request.round, reserve=charge.sequence, update=kept.digest)
            ledger.append(body)
        elif release[1].update != kept.digest:
            return None
        _log.info("round %d is sent again as it was, and not charged again", request.round)
        return kept.arrays

    def _path(self, run: str, number: int, model: str) -> Path:
        name = hashlib.sha256(f"{run}\0{number}\0{model}".encode()).hexdigest()
        return self._folder / f"{name}.safetensors"

    def _read(self, path: Path) -> _Kept | None:
        """Return an update, or None where it is missing or damaged: then its round is charged anew."""
        try:
            data = path.read_bytes()
            return _Kept(arrays=from_bytes(data), digest=hashlib.sha256(data).hexdigest())
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError):
            _log.warning("%s cannot be read: if its round is asked again, it is charged again", path)
            return None

    def _forget(self, newest: Path, view: LedgerView) -> None:
        """Remove what was confirmed, but for the newest: a server may lose the round it confirmed last."""
        needed = {self._path(*names) for names in _unconfirmed(view)}
        others = [path for path in self._folder.glob("*.safetensors") if path != newest]
        others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for place, path in enumerate(others):
            if path not in needed or place >= _MOST_KEPT:
                path.unlink(missing_ok=True)


def _charge(view: LedgerView, run: str, number: int, model: str) -> Entry | None:
    """Return the last RESERVE of a round and input model that no ABORT has closed."""
    aborted = {entry.body.reserve for entry in view.entries if isinstance(entry.body, Abort)}
    for entry in reversed(view.entries):
        body = entry.body
        if not isinstance(body, Reserve) or entry.sequence in aborted:
            continue
        if (body.run, body.round, body.input_model) == (run, number, model):
            return entry
    return None


def _release_of(view: LedgerView, charge: Entry) -> tuple[int, Release] | None:
    """Return a charge's RELEASE and its number."""
    for entry in view.entries[charge.sequence + 1 :]:
        if isinstance(entry.body, Release) and entry.body.reserve == charge.sequence:
            return entry.sequence, entry.body
    return None


def _refuse_used_number(request: TrainRequest, view: LedgerView) -> None:
    """Refuse a number under which another round was released: it comes from an old proposal."""
    released = {entry.body.reserve for entry in view.entries if isinstance(entry.body, Release)}
    for sequence in released:
        charge = view.entries[sequence].body
        if not isinstance(charge, Reserve) or charge.server_nonce != request.server_nonce:
            continue
        if (charge.run, charge.round) != (request.run, request.round):
            raise PolicyRefused(
                f"round {request.round} was proposed under a number that stands for round {charge.round} "
                "already: it is not computed"
            )


def _refuse_confirmed(release: tuple[int, Release] | None, view: LedgerView) -> None:
    """Refuse to compute again what the server has: it asks by mistake, or to have the budget spent."""
    if release is not None and release[0] not in view.unconfirmed:
        raise PolicyRefused(
            f"round {release[1].round} was released and confirmed already, and its update is no longer kept: "
            "it is not computed again"
        )


def _unconfirmed(view: LedgerView) -> list[tuple[str, int, str]]:
    """Return run, round and input model of every charge whose release was not confirmed, or not made."""
    confirmed = {
        entry.body.reserve
        for entry in view.entries
        if isinstance(entry.body, Release) and entry.sequence not in view.unconfirmed
    }
    return [
        (entry.body.run, entry.body.round, entry.body.input_model)
        for entry in view.entries
        if isinstance(entry.body, Reserve) and entry.sequence not in confirmed
    ]
