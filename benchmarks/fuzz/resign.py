"""Ledgers that were changed and then signed anew with the right keys: only the deeper checks remain."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
from collections.abc import Callable
from random import Random
from typing import Any

from benchmarks.fuzz.histories import FIRST, KEYS, SERVER
from benchmarks.fuzz.texts import mutate_bytes
from benchmarks.fuzz.values import mutate_value, to_text
from common.ledger.keys import KEY, RECEIPT, SigningKey

Entries = list[dict[str, Any]]

_MOST_BRACKETS = 200
"""In a line that is read here: deeper nesting would overflow what changes it."""


def read_entries(data: bytes) -> Entries:
    """Return the entries of a ledger as JSON objects, up to the first line that is none or nested deeply."""
    entries: Entries = []
    for line in data.split(b"\n"):
        if line.count(b"[") + line.count(b"{") > _MOST_BRACKETS:
            break
        try:
            entry = json.loads(line)["entry"]
            entries.append(dict(entry))
        except (ValueError, TypeError, KeyError, RecursionError):
            break
    return entries


def resign(data: bytes, other: bytes, random: Random) -> tuple[bytes, frozenset[str]]:
    """Change a ledger's entries, chain and sign them again; return it with the lines that were signed."""
    entries, others = read_entries(data), read_entries(other)
    if not entries:
        return mutate_bytes(data, other, random), frozenset()
    for number, entry in enumerate(entries):
        entry["@"] = number
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        random.choice(_CHANGES)(entries, others or entries, random)
    lines = _Notary(random).sign(entries)
    result = "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogatepass")
    if random.random() < 0.05:
        result = mutate_bytes(result, other, random)
    return result, frozenset(lines)


class _Notary:
    """Signs what it is given, and mostly repairs what a change has made stale."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._repairs = random.random() < 0.8
        self._chains = random.random() < 0.95
        self._moved: dict[Any, int] = {}
        self._lines: list[str] = []
        self._hashes: list[str] = []
        self._entries: Entries = []
        self._key: SigningKey = FIRST

    def sign(self, entries: Entries) -> list[str]:
        for number, entry in enumerate(entries):
            self._moved.setdefault(entry.pop("@", None), number)
            self._chain(entry, number)
            if self._repairs:
                self._repair(entry, number)
            self._write(entry)
        return self._lines

    def _chain(self, entry: dict[str, Any], number: int) -> None:
        """Give an entry its place in the chain, except sometimes where a change was there."""
        previous = self._hashes[-1] if self._hashes else "0" * 64
        if self._chains or number == 0:
            for name, value in (("sequence", number), ("previous", previous)):
                if name in entry and self._random.random() < 0.995:
                    entry[name] = value

    def _repair(self, entry: dict[str, Any], number: int) -> None:
        for name in ("reserve", "release"):
            if type(entry.get(name)) is int and self._random.random() < 0.9:
                entry[name] = self._moved.get(entry[name], entry[name])
        kind, genesis = entry.get("type"), (self._entries or [entry])[0]
        try:
            if kind == "KEY_ROTATE":
                proof = {"ledger_id": genesis["ledger_id"], "sequence": number}
                entry["proof"] = _sign(KEYS[base64.b64decode(entry["public_key"])], to_text(proof), KEY)
            if kind == "RECEIPT":
                self._repair_receipt(entry, genesis["ledger_id"])
        except (KeyError, TypeError, IndexError, ValueError):
            return

    def _repair_receipt(self, entry: dict[str, Any], identity: str) -> None:
        receipt, release = entry["receipt"], entry["release"]
        if release >= 0:
            released = self._entries[release]
            right = {"ledger_id": identity, "sequence": release, "entry": self._hashes[release]}
            right |= {"run": released["run"], "round": released["round"]}
            receipt |= {name: value for name, value in right.items() if self._random.random() < 0.98}
        entry["signature"] = _sign(SERVER, to_text(receipt), RECEIPT)

    def _write(self, entry: dict[str, Any]) -> None:
        payload = to_text(entry, self._random)
        if entry.get("type") == "GENESIS":
            self._take_over(entry)
        signature = _sign(self._key, payload)
        line = f'{{"entry":{payload},"signature":"{signature}"}}'
        self._lines.append(line)
        self._hashes.append(hashlib.sha256(line.encode("utf-8", "surrogatepass")).hexdigest())
        self._entries.append(entry)
        if entry.get("type") == "KEY_ROTATE":
            self._take_over(entry)

    def _take_over(self, entry: dict[str, Any]) -> None:
        """Sign with the key that an entry names, if it is one of ours."""
        try:
            self._key = KEYS.get(base64.b64decode(entry["public_key"]), self._key)
        except (KeyError, TypeError, ValueError):
            return


def _sign(key: SigningKey, payload: str, payload_type: bytes | None = None) -> str:
    data = payload.encode("utf-8", "surrogatepass")
    signature = key.sign(data) if payload_type is None else key.sign(data, payload_type)
    return base64.b64encode(signature).decode("ascii")


def _change_value(entries: Entries, others: Entries, random: Random) -> None:
    at = random.randrange(len(entries))
    number = entries[at].pop("@", None)
    donor = {name: value for name, value in random.choice(others).items() if name != "@"}
    changed = mutate_value(entries[at], donor, random)
    entries[at] = (changed if isinstance(changed, dict) else {}) | {"@": number}


def _change_last(entries: Entries, others: Entries, random: Random) -> None:
    """Change the last of the entries, and leave out those after it."""
    del entries[random.randrange(len(entries)) + 1 :]
    last = entries[-1:]
    _change_value(last, others, random)
    entries[-1:] = last


def _drop(entries: Entries, _: Entries, random: Random) -> None:
    if len(entries) > 1:
        del entries[random.randrange(len(entries))]


def _double(entries: Entries, _: Entries, random: Random) -> None:
    entries.insert(random.randrange(len(entries) + 1), copy.deepcopy(random.choice(entries)))


def _take(entries: Entries, others: Entries, random: Random) -> None:
    entries.insert(random.randrange(1, len(entries) + 1), copy.deepcopy(random.choice(others)))


def _exchange(entries: Entries, _: Entries, random: Random) -> None:
    first, second = random.randrange(len(entries)), random.randrange(len(entries))
    entries[first], entries[second] = entries[second], entries[first]


def _shuffle(entries: Entries, _: Entries, random: Random) -> None:
    rest = entries[1:]
    random.shuffle(rest)
    entries[1:] = rest


def _extend(entries: Entries, others: Entries, random: Random) -> None:
    """Go on with another ledger's entries."""
    start = random.randrange(len(others))
    del entries[random.randrange(len(entries)) + 1 :]
    entries += copy.deepcopy(others[start:])


_CHANGES: tuple[Callable[[Entries, Entries, Random], None], ...] = (
    *(_change_value, _change_value, _change_value, _change_last, _change_last, _change_last),
    *(_drop, _double, _take, _exchange, _shuffle, _extend),
)
