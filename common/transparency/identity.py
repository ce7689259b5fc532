"""Which server a log is of: its key, in the form that other tools for signed notes take, and its name."""

from __future__ import annotations

import base64
import binascii
import hashlib
from pathlib import Path

from common.errors import LedgerError, LedgerTampered
from common.transparency.note import verifier_key

KEY_FILE = "key.pub"

_KEY_SIZE = 32


def log_name(public_key: bytes) -> str:
    """Return the name under which the log of a server's key is signed."""
    return f"fedledger.server/{hashlib.sha256(public_key).hexdigest()[:16]}"


def read_key(path: Path) -> bytes:
    """Read the key of a server from its verifier key; 32 bytes.

    Raises:
        LedgerTampered: when the file is not the verifier key of a server's log, in its one form.
        LedgerError: when it cannot be read.
    """
    try:
        text = path.read_bytes().decode("ascii").removesuffix("\n")
        encoded = text.split("+", 2)[-1]  # base64 may hold a plus sign of its own
        key = base64.b64decode(encoded, validate=True)[1:]
    except FileNotFoundError:
        raise LedgerTampered(f"{path} is missing: put the server's verifier key back") from None
    except OSError as error:
        raise LedgerError(f"{path} cannot be read ({error.strerror}): permit access") from None
    except (UnicodeDecodeError, binascii.Error):
        raise LedgerTampered(f"{path} is not a verifier key: put it back") from None
    if len(key) != _KEY_SIZE or text != verifier_key(log_name(key), key):
        raise LedgerTampered(f"{path} is not the verifier key of a server's log: put it back")
    return key
