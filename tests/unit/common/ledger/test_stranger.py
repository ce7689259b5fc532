"""A verifier written in another language from docs/ledger-format.md alone must agree with this one."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from common.ledger.examine import VERIFIED, Expected, judge
from common.privacy.decimals import decimal_text
from tests.vectors import make
from tests.vectors.damage import sealed

SCRIPT = make.HERE / "verify.mjs"
NODE = shutil.which("node")
VECTORS = json.loads((make.HERE / "vectors.json").read_text(encoding="utf-8"))
GOOD = [make.HERE / name for name in VECTORS["ledgers"]]

pytestmark = pytest.mark.skipif(NODE is None, reason="node is not installed")


def stranger(*arguments: object, script: Path = SCRIPT) -> list[dict]:
    """Return what the other verifier says, one record a file."""
    process = subprocess.run(
        [NODE, script, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert process.stderr == ""
    records = [json.loads(line) for line in process.stdout.splitlines()]
    assert process.returncode == any(record["flaw"] for record in records)
    return records


def here(path: Path) -> tuple[str | None, int | None]:
    judgement = judge(path, Expected())
    return judgement.flaw, judgement.entry


def test_good_ledgers_are_verified():
    for record, path in zip(stranger(*GOOD), GOOD, strict=True):
        facts = VECTORS["ledgers"][path.name]
        assert record["flaw"] is None, record
        assert (record["entries"], record["head"]) == (facts["entries"], facts["head"])


def test_every_damage_is_found_where_it_is(tmp_path):
    paths = []
    for number, damage in enumerate(VECTORS["damaged"]):
        paths.append(tmp_path / f"{number}.jsonl")
        paths[-1].write_bytes(make.content(damage))
    found = {
        damage["name"]: (record["flaw"], record["entry"])
        for damage, record in zip(VECTORS["damaged"], stranger(*paths), strict=True)
    }
    assert found == {damage["name"]: (damage["flaw"], damage["entry"]) for damage in VECTORS["damaged"]}


def test_both_say_the_same_of_bytes_changed_at_random(tmp_path):
    generator = random.Random(0)
    whole = (make.HERE / "every-kind.jsonl").read_bytes()
    paths = []
    for number in range(400):
        data = bytearray(whole)
        for _ in range(generator.randint(1, 3)):
            place = generator.randrange(len(data))
            match generator.randrange(3):
                case 0:
                    data[place] = generator.choice(b'0123456789abcdefXYZ{}[]":,.+- \n\\\xff')
                case 1:
                    del data[place : place + generator.randint(1, 40)]
                case 2:
                    data[place:place] = data[place : place + generator.randint(1, 40)]
        paths.append(tmp_path / f"{number}.jsonl")
        paths[-1].write_bytes(bytes(data))
    says = [(record["flaw"], record["entry"]) for record in stranger(*paths)]
    assert says == [here(path) for path in paths]
    assert len({flaw for flaw, _ in says}) >= 5


def test_both_say_the_same_of_well_signed_entries_changed_at_random(tmp_path):
    generator = random.Random(1)
    lines = (make.HERE / "every-kind.jsonl").read_text().splitlines()
    paths = []
    for number in range(400):
        place = generator.randrange(len(lines))
        entry = json.loads(lines[place])["entry"]
        change(entry, generator)
        key = make.KEYS["first" if place <= 8 else "second"]
        paths.append(tmp_path / f"{number}.jsonl")
        paths[-1].write_text("".join(f"{line}\n" for line in [*lines[:place], sealed(entry, key)]))
    says = [(record["flaw"], record["entry"]) for record in stranger(*paths)]
    assert says == [here(path) for path in paths]
    assert len({flaw for flaw, _ in says}) >= 4


ODD = (
    0,
    1,
    -1,
    2**53 - 1,
    2**53,
    True,
    None,
    "",
    "1",
    "0.1",
    "x",
    "a" * 64,
    "A" * 44,
    [],
    [1, 2],
    [2, 2],
    {},
    1.5,
)


def change(entry: dict, generator: random.Random) -> None:
    """Give a field somewhere in an entry another value, or take it away, or add one."""
    name = generator.choice(sorted(entry))
    value = entry[name]
    inside = value[0] if isinstance(value, list) and value else value
    match generator.randrange(4):
        case 0 if isinstance(inside, dict) and inside:
            change(inside, generator)
        case 1:
            entry.pop(name)
        case 2:
            entry[generator.choice(("note", "steps", "constructor", "__proto__"))] = generator.choice(ODD)
        case _:
            entry[name] = generator.choice(ODD)


def test_both_write_the_same_decimals(tmp_path):
    """Every charge has another clip: one decimal that is read otherwise would be found malformed."""
    generator = random.Random(2)
    writer = make.Writer()
    writer.begin()
    for number in range(1, 301):
        value = generator.random() * 10.0 ** generator.randint(-320, 308) or 5e-324
        assert decimal_text(value)
        writer.reserve(number, max_grad_norm=value)
    path = tmp_path / "decimals.jsonl"
    path.write_text("".join(f"{line}\n" for line in writer.lines))
    assert judge(path, Expected()).status == VERIFIED
    (record,) = stranger(path)
    assert (record["flaw"], record["entries"]) == (None, 301)


@pytest.mark.parametrize("broken", [None, "lines", "checkpoint", "key"])
def test_a_server_s_log(tmp_path, broken):
    log = VECTORS["log"]
    lines = "".join(f"{line}\n" for line in log["lines"])
    checkpoint, verifier_key = log["checkpoint"], log["verifier_key"]
    if broken == "lines":
        lines = lines.replace('"num_examples":100', '"num_examples":101')
    if broken == "checkpoint":
        checkpoint = checkpoint.replace("\n5\n", "\n4\n")
    if broken == "key":
        verifier_key = verifier_key.rpartition("+")[0] + "+AQ" + "A" * 42
    (tmp_path / "log.jsonl").write_text(lines + '{"unfinished":')
    (tmp_path / "checkpoint").write_text(checkpoint, encoding="utf-8")
    (tmp_path / "key.pub").write_text(verifier_key + "\n")
    (record,) = stranger(tmp_path, script=make.HERE / "verify-log.mjs")
    assert record["flaw"] == (broken and "log-wrong")
    if not broken:
        assert record["root"] == log["roots"][-1]
