"""The tools of somebody who tampers with records, for tests that must catch it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from common import canonical
from common.ledger import Body, SigningKey, read_ledger
from common.ledger.lines import NO_PREVIOUS, line_hash, write_line
from common.run_folder import RunFolder
from common.transparency.log import ServerLog

ChangeBody = Callable[[Body], Body]


def lines_of(path: Path) -> list[str]:
    """Return a file's lines."""
    return path.read_text(encoding="utf-8").splitlines()


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """Replace a file's lines."""
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def bodies_of(path: Path) -> list[Body]:
    """Return what a ledger's entries say."""
    return [entry.body for entry in read_ledger(path).entries]


def rewrite(path: Path, bodies: Sequence[Body], key: SigningKey, *, keep: int = 0) -> None:
    """Write a ledger anew, but for the first lines: well chained and signed."""
    lines = lines_of(path)[:keep]
    for body in bodies[keep:]:
        previous = line_hash(lines[-1]) if lines else NO_PREVIOUS
        lines.append(write_line(body, sequence=len(lines), previous=previous, key=key))
    write_lines(path, lines)


def change_last(folder: RunFolder, client: int, change: ChangeBody) -> None:
    """Let a client sign another last entry."""
    path = folder.ledger(client)
    bodies = bodies_of(path)
    bodies[-1] = change(bodies[-1])
    rewrite(path, bodies, SigningKey.load(folder.key(client)), keep=len(bodies) - 1)


def sign_fields(line: str, changes: dict[str, Any], key: SigningKey) -> str:
    """Return a line with other fields in its entry, signed anew."""
    entry = json.loads(line)["entry"] | changes
    payload = canonical.dumps(entry)
    signature = base64.b64encode(key.sign(payload)).decode("ascii")
    return f'{{"entry":{payload.decode("ascii")},"signature":"{signature}"}}'


def rewrite_log(folder: RunFolder, leaves: Sequence[dict[str, Any]], key: SigningKey, origin: str) -> None:
    """Write the server's log anew, with these leaves and a checkpoint over them."""
    for name in ("log.jsonl", "checkpoint"):
        (folder.server / name).unlink()
    with ServerLog.open(folder.server, key, origin) as log:
        log.append(list(leaves))


def leaves_of(folder: RunFolder) -> list[dict[str, Any]]:
    """Return the leaves of the server's log."""
    return [json.loads(line) for line in lines_of(folder.server / "log.jsonl")]
