"""A proof that whoever shows a ledger holds its key, so that a copy of it joins no run."""

from __future__ import annotations

from common import canonical
from common.ledger.chain import LedgerView
from common.ledger.keys import PRESENCE, SigningKey, verify


def prove_presence(view: LedgerView, run: str, key: SigningKey) -> bytes:
    """Sign that a ledger takes part in a run, by the key that signs its entries now; 64 bytes.

    What leaves: the signature, which nobody can use for another run or another state of the ledger.
    """
    return key.sign(_claim(view, run), PRESENCE)


def is_present(view: LedgerView, run: str, signature: bytes) -> bool:
    """Say whether a signature is that of `prove_presence`, for this ledger as it is, in this run."""
    return verify(view.public_key, _claim(view, run), signature, PRESENCE)


def _claim(view: LedgerView, run: str) -> bytes:
    return canonical.dumps({"head": view.head, "ledger_id": view.genesis.ledger_id, "run": run})
