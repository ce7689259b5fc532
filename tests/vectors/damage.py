"""Ledgers that were tampered with, each with the flaw that every verifier must find, and where."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from common.ledger import SigningKey
from common.ledger.keys import KEY, RECEIPT
from common.ledger.lines import line_hash

Change = Callable[[dict[str, Any]], None]

RECEIPT_ENTRY, ROTATION, LAST_RECEIPT, LAST = 3, 8, 10, 11
"""Numbers of entries in every-kind.jsonl."""


@dataclass(frozen=True)
class Variant:
    """A damaged ledger.

    Args:
        name: what was done to it.
        flaw: the code of the flaw.
        entry: number of the first entry that shows it, None where no single one does.
        text: the file's content.
    """

    name: str
    flaw: str
    entry: int | None
    text: str


def variants(lines: list[str], keys: Mapping[str, SigningKey]) -> list[Variant]:
    """Return the damaged forms of every-kind.jsonl."""
    return [
        *_torn(lines),
        *_not_canonical(lines, keys),
        *_unchained(lines, keys),
        *_malformed(lines, keys),
        *_out_of_order(lines, keys),
        *_receipts(lines, keys),
        *_signatures(lines, keys),
    ]


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _json(value: object) -> str:
    """Write JSON in canonical form, floats and all."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sealed(entry: dict[str, Any], key: SigningKey) -> str:
    """Return a well-signed line, whatever the entry says."""
    payload = _json(entry)
    signature = base64.b64encode(key.sign(payload.encode())).decode()
    return f'{{"entry":{payload},"signature":"{signature}"}}'


def _entry(line: str) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(line)["entry"]
    return entry


class _Forger:
    """Changes one entry and signs it again, with the key that is due there."""

    def __init__(self, lines: list[str], keys: Mapping[str, SigningKey]) -> None:
        self._lines = lines
        self._keys = keys

    def __call__(self, name: str, flaw: str, number: int, change: Change) -> Variant:
        """Return the ledger up to an entry that was changed and signed."""
        entry = copy.deepcopy(_entry(self._lines[number]))
        change(entry)
        key = self._keys["first" if number <= ROTATION else "second"]
        return Variant(name, flaw, number, _text([*self._lines[:number], sealed(entry, key)]))

    def next(self, name: str, flaw: str, fields: dict[str, Any]) -> Variant:
        """Return the whole ledger with one more entry, well signed."""
        chain = {
            "format": "fedledger/1",
            "previous": line_hash(self._lines[-1]),
            "sequence": len(self._lines),
        }
        line = sealed(chain | fields, self._keys["second"])
        return Variant(name, flaw, len(self._lines), _text([*self._lines, line]))


def _set(name: str, value: object) -> Change:
    return lambda entry: entry.update({name: value})


def _set_in(outer: str, name: str, value: object) -> Change:
    return lambda entry: entry[outer].update({name: value})


def _torn(lines: list[str]) -> list[Variant]:
    whole = _text(lines)
    return [
        Variant("empty file", "ledger-torn", None, ""),
        Variant("last newline missing", "ledger-torn", None, whole[:-1]),
        Variant("last line half written", "ledger-torn", None, whole[: -len(lines[-1]) // 2]),
    ]


def _not_canonical(lines: list[str], keys: Mapping[str, SigningKey]) -> list[Variant]:
    forge, code = _Forger(lines, keys), "entry-not-canonical"

    def changed(name: str, number: int, old: str, new: str) -> Variant:
        assert old in lines[number]
        line = lines[number].replace(old, new, 1)
        return Variant(name, code, number, _text([*lines[:number], line, *lines[number + 1 :]]))

    return [
        changed("white space", 1, '"round":', '"round": '),
        changed("white space after the line", 2, '"}', '"} '),
        changed("keys not sorted", 2, '"reserve":1,"round":1', '"round":1,"reserve":1'),
        changed("key twice", 2, '"round":1', '"round":1,"round":1'),
        changed("escape that is not needed", 5, "out-of-memory", "out-of\\u002dmemory"),
        changed("letter beyond ASCII", 5, "out-of-memory", "out-of-memöry"),
        changed("another member beside entry and signature", 2, ',"signature"', ',"note":1,"signature"'),
        changed("float", 1, '"round":1', '"round":1.0'),
        changed("exponent", 6, '"num_examples":90', '"num_examples":9e1'),
        changed("minus zero", 3, '"index":1', '"index":-0'),
        Variant("empty line at the end", code, len(lines), _text([*lines, ""])),
        Variant("carriage returns", code, 0, _text(f"{line}\r" for line in lines)),
        forge("signed float", code, 1, _set("max_grad_norm", 1.5)),
        forge("signed number that readers round", code, 6, _set("num_examples", 2**53)),
    ]


def _unchained(lines: list[str], keys: Mapping[str, SigningKey]) -> list[Variant]:
    forge, code = _Forger(lines, keys), "chain-broken"
    swapped = [*lines[:4], lines[5], lines[4], *lines[6:]]
    return [
        Variant("first line missing", code, 0, _text(lines[1:])),
        Variant("line missing", code, 6, _text([*lines[:6], *lines[7:]])),
        Variant("line twice", code, 7, _text([*lines[:7], *lines[6:]])),
        Variant("lines swapped", code, 4, _text(swapped)),
        forge("signed for another place", code, 6, _set("sequence", 7)),
        forge("signed after another line", code, 6, _set("previous", "0" * 64)),
        forge("another format", code, 0, _set("format", "fedledger/2")),
        forge("sequence true instead of 1", code, 1, _set("sequence", True)),
    ]


def _malformed(lines: list[str], keys: Mapping[str, SigningKey]) -> list[Variant]:
    forge, code = _Forger(lines, keys), "entry-malformed"
    mechanism = _entry(lines[1])["mechanisms"][0]

    def mechanisms(name: str, **changes: object) -> Variant:
        return forge(name, code, 1, _set("mechanisms", [mechanism | changes]))

    return [
        forge("unknown type", code, 1, _set("type", "REFUND")),
        forge("unknown field", code, 1, _set("batch_size", 17)),
        forge("missing field", code, 1, lambda entry: entry.pop("server_nonce")),
        forge("round 0", code, 1, _set("round", 0)),
        forge("round true", code, 1, _set("round", True)),
        forge("delta 1", code, 0, _set("delta", "1")),
        forge("other adjacency", code, 0, _set("adjacency", "add-or-remove")),
        forge("filter without a budget", code, 0, lambda e: e.update(budget_epsilon=None, filter_order="8")),
        forge("filter order 1", code, 0, _set("filter_order", "1")),
        forge("decimal with a trailing zero", code, 1, _set("max_grad_norm", "1.0")),
        forge("decimal with a leading zero", code, 1, _set("max_grad_norm", "01")),
        forge("decimal with an exponent", code, 1, _set("max_grad_norm", "1e3")),
        forge("decimal longer than its value needs", code, 1, _set("max_grad_norm", "0.10000000000000001")),
        forge("decimal of no value at all", code, 1, _set("max_grad_norm", "1" + "0" * 309)),
        forge("decimal 0", code, 1, _set("max_grad_norm", "0")),
        forge("fraction not in lowest terms", code, 1, _set("normaliser", [40, 2])),
        forge("no mechanism", code, 1, _set("mechanisms", [])),
        mechanisms("unknown mechanism", type="shuffled-gaussian"),
        mechanisms("unknown field in a mechanism", batch_size=17),
        mechanisms("sample rate above 1", sample_rate=[6, 5]),
        mechanisms("sample rate not in lowest terms", sample_rate=[2, 10]),
        mechanisms("noise multiplier 0", noise_multiplier="0"),
        mechanisms("steps 0", steps=0),
        forge("unknown noise source", code, 1, _set("noise_source", "torch")),
        forge("hash in capitals", code, 1, _set("input_model", "A" * 64)),
        forge("name with a space", code, 1, _set("run", "my run")),
        forge("version that is a number", code, 1, _set("libraries", {"torch": 2})),
        forge("public key that is not canonical base64", code, 0, _set("public_key", "A" * 42 + "B=")),
        forge("unknown field in a receipt", code, RECEIPT_ENTRY, _set_in("receipt", "note", "x")),
        forge("unknown field in a checkpoint", code, RECEIPT_ENTRY, _set_in("checkpoint", "note", "x")),
    ]


def _out_of_order(lines: list[str], keys: Mapping[str, SigningKey]) -> list[Variant]:
    forge, code = _Forger(lines, keys), "entry-out-of-order"
    release = {name: _entry(lines[9])[name] for name in ("type", "run", "round", "update")}
    receipt = {
        name: _entry(lines[LAST_RECEIPT])[name]
        for name in ("type", "release", "receipt", "signature", "checkpoint")
    }
    genesis = {
        name: value for name, value in _entry(lines[0]).items() if name not in ("previous", "sequence")
    }
    return [
        Variant("begins with another entry", code, 0, _text([_first(lines[1], keys["first"])])),
        forge.next("second GENESIS", code, genesis),
        forge.next("RELEASE without RESERVE", code, release | {"reserve": 6}),
        forge.next("RELEASE twice", code, release | {"reserve": 7}),
        forge.next("RELEASE of an aborted charge", code, release | {"reserve": 4, "round": 2}),
        forge.next("RELEASE of a later entry", code, release | {"reserve": 12}),
        forge.next("RELEASE of another round", code, release | {"reserve": LAST}),
        forge.next("RECEIPT twice", code, receipt),
        forge.next("RECEIPT for a charge", code, receipt | {"release": LAST}),
    ]


def _first(line: str, key: SigningKey) -> str:
    return sealed(_entry(line) | {"sequence": 0, "previous": "0" * 64}, key)


def _receipts(lines: list[str], keys: Mapping[str, SigningKey]) -> list[Variant]:
    forge, code, number = _Forger(lines, keys), "receipt-wrong", LAST_RECEIPT

    def stated(name: str, **changes: object) -> Variant:
        """Let the server sign another receipt."""

        def change(entry: dict[str, Any]) -> None:
            entry["receipt"].update(changes)
            signature = keys["server"].sign(_json(entry["receipt"]).encode(), RECEIPT)
            entry["signature"] = base64.b64encode(signature).decode()

        return forge(name, code, number, change)

    other = base64.b64encode(keys["stranger"].public).decode()
    empty = base64.b64encode(bytes(64)).decode()
    return [
        stated("receipt for another line", entry="0" * 64),
        stated("receipt for another entry", sequence=2),
        stated("receipt for another ledger", ledger_id="0" * 64),
        stated("receipt for another run", run="another"),
        stated("receipt for another round", round=4),
        stated("receipt outside the log that came with it", index=9),
        stated("receipt that another server signed", server_key=other),
        forge("receipt without a true signature", code, number, _set("signature", empty)),
        forge("checkpoint without a true signature", code, number, _set_in("checkpoint", "signature", empty)),
        forge("checkpoint of another size", code, number, _set_in("checkpoint", "size", 5)),
    ]


def _signatures(lines: list[str], keys: Mapping[str, SigningKey]) -> list[Variant]:
    forge, code = _Forger(lines, keys), "signature-wrong"
    changed = lines[1].replace('"steps":3', '"steps":1')
    head, _, tail = lines[2].rpartition('=="}')
    loose = f'{head[:-1]}{_next_letter(head[-1])}=="}}{tail}'
    old = sealed(_entry(lines[9]), keys["first"])
    identity, place = _entry(lines[0])["ledger_id"], ROTATION

    def proof(key: str, ledger_id: str, sequence: int) -> Change:
        payload = _json({"ledger_id": ledger_id, "sequence": sequence}).encode()
        return _set("proof", base64.b64encode(keys[key].sign(payload, KEY)).decode())

    return [
        Variant("changed after it was signed", code, 1, _text([lines[0], changed, *lines[2:]])),
        Variant("signature not canonical base64", code, 2, _text([*lines[:2], loose, *lines[3:]])),
        Variant("signature too short", code, 2, _text([*lines[:2], lines[2].replace('=="}', '"}')])),
        Variant(
            "signed by a stranger", code, 1, _text([lines[0], sealed(_entry(lines[1]), keys["stranger"])])
        ),
        Variant("signed by the key before", code, 9, _text([*lines[:9], old])),
        forge("proof by another key", code, place, proof("stranger", identity, place)),
        forge("proof for another place", code, place, proof("second", identity, 7)),
        forge("proof for another ledger", code, place, proof("second", "0" * 64, place)),
    ]


def _next_letter(letter: str) -> str:
    """Return the letter of base64 whose unused bits differ: both decode to the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return alphabet[alphabet.index(letter) + 1]
