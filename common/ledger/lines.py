"""One line of a ledger: an entry, chained to the line before it, with its signature.

The line is canonical JSON, and so is the entry in it: the signed bytes stand in the line as they are.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from common import canonical
from common.errors import LedgerError, LedgerTampered
from common.ledger.entries import Body
from common.ledger.entry_json import body_from_json, body_to_json
from common.ledger.fields import SIGNATURE
from common.ledger.keys import SigningKey

FORMAT = "fedledger/1"
NO_PREVIOUS = "0" * 64

_LINE = re.compile(r'\{"entry":(?P<entry>\{.*\}),"signature":"(?P<signature>[^"]*)"\}')


@dataclass(frozen=True, kw_only=True)
class OpenedLine:
    """What a line holds.

    Args:
        payload: the signed bytes.
        signature: 64 bytes, not verified yet.
    """

    body: Body
    payload: bytes
    signature: bytes


def write_line(body: Body, *, sequence: int, previous: str, key: SigningKey) -> str:
    """Return the signed line that holds `body`, without its newline.

    Args:
        sequence: the entry's number, from 0.
        previous: SHA-256 (hex) of the line before it.
    """
    chain = {"format": FORMAT, "sequence": sequence, "previous": previous}
    payload = canonical.dumps(chain | body_to_json(body))
    signature = base64.b64encode(key.sign(payload)).decode("ascii")
    return f'{{"entry":{payload.decode("ascii")},"signature":"{signature}"}}'


def open_line(line: str, *, sequence: int, previous: str) -> OpenedLine:
    """Read a line that must stand at a place of a chain; its signature is not verified.

    Raises:
        LedgerTampered: when it is not canonical, or does not continue the chain.
        LedgerError: when a field of the entry is not of the agreed form.
    """
    match = _LINE.fullmatch(line)
    if match is None:
        raise LedgerTampered("it is not an entry with its signature", flaw="entry-not-canonical")
    try:
        entry = canonical.loads(match["entry"])
    except ValueError as error:
        raise LedgerTampered(f"it is not canonical JSON: {error!s:.80}", flaw="entry-not-canonical") from None
    chain = {"format": FORMAT, "sequence": sequence, "previous": previous}
    for name, value in chain.items():
        stated = entry.pop(name, None)
        if stated != value or type(stated) is not type(value):
            raise LedgerTampered(
                f"its {name} is {stated!r:.80}, which does not continue the chain", flaw="chain-broken"
            )
    return OpenedLine(
        body=body_from_json(entry),
        payload=match["entry"].encode("ascii"),
        signature=_signature(match["signature"]),
    )


def line_hash(line: str) -> str:
    """Return the SHA-256 (hex) of a line, without its newline."""
    return hashlib.sha256(line.encode("ascii")).hexdigest()


def read_bytes(path: Path) -> bytes:
    """Read a file whole, or raise LedgerError."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise LedgerError(
            f"{path} does not exist: name a ledger, such as RUN/ledgers/client-0.jsonl"
        ) from None
    except IsADirectoryError:
        raise LedgerError(
            f"{path} is a folder: name one ledger in it, such as {path}/client-0.jsonl"
        ) from None
    except OSError as error:
        raise LedgerError(f"{path} cannot be read ({error.strerror})") from None


def split_lines(data: bytes, path: Path) -> list[str]:
    """Split a ledger's bytes at newlines, every line having one.

    Raises:
        LedgerTampered: when it does not end with a newline, or is not ASCII.
    """
    if not data.endswith(b"\n"):
        raise LedgerTampered(
            f"{path} does not end with a complete entry: it is empty, cut or was torn by a crash",
            flaw="ledger-torn",
        )
    try:
        return data[:-1].decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        number = data[: error.start].count(b"\n")
        text = f"entry {number} holds a byte that is not ASCII"
        raise LedgerTampered(text, flaw="entry-not-canonical", entry=number) from None


def _signature(text: str) -> bytes:
    if not SIGNATURE.fullmatch(text):
        raise LedgerTampered("its signature is not base64 of 64 bytes", flaw="signature-wrong")
    decoded = base64.b64decode(text)
    if base64.b64encode(decoded).decode("ascii") != text:
        raise LedgerTampered("its signature is not canonical base64", flaw="signature-wrong")
    return decoded
