"""A long ledger: `python -m benchmarks.ledger [--rounds 3333]`.

Prints how many entries are verified a second against bare Ed25519 verifications of the same bytes, measured
side by side, and how many are appended a second against bare durable writes of the same lines. A round is a
RESERVE, a RELEASE and a RECEIPT, so that four signatures stand in three entries.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

from common.ledger import Acknowledged, Body, Genesis, Ledger, Release, Reserve, SigningKey, parse_lines
from common.ledger.keys import verify
from common.ledger.lines import line_hash, write_line
from common.ledger.receipts import HeldCheckpoint, Receipt
from common.privacy.mechanisms import PoissonGaussian

RUN = "20260101-120000-folder"
REPEATS = 5
ENTRIES_A_ROUND = 3


def digest(text: str) -> str:
    """Return a hash that stands for something of this name."""
    return hashlib.sha256(text.encode()).hexdigest()


def charge(number: int) -> Reserve:
    """Return a charge as a client with its own n writes it every round."""
    return Reserve(
        run=RUN,
        round=number,
        purpose="train",
        mechanisms=(
            PoissonGaussian(noise_multiplier=1.2345678901234, sample_rate=Fraction(1, 10), num_steps=3),
        ),
        max_grad_norm=1.0,
        normaliser=Fraction(1234, 10),
        sampler="poisson",
        noise_source="chacha20",
        input_model=digest(f"model {number}"),
        server_nonce=digest(f"nonce {number}"),
        code_digest=digest("code"),
        libraries={"dp-accounting": "0.6.0", "flwr": "1.41.0", "opacus": "1.6.0", "torch": "2.14.1"},
    )


def history(key: SigningKey, server: SigningKey, rounds: int) -> list[str]:
    """Return the lines of a ledger of so many confirmed rounds."""
    genesis = Genesis.new(key, delta=1e-5, budget_epsilon=8.0, num_examples=1234, commitment=digest("data"))
    lines: list[str] = []

    def add(body: Body) -> int:
        previous = line_hash(lines[-1]) if lines else "0" * 64
        lines.append(write_line(body, sequence=len(lines), previous=previous, key=key))
        return len(lines) - 1

    add(genesis)
    for number in range(1, rounds + 1):
        reserve = add(charge(number))
        release = add(Release(run=RUN, round=number, reserve=reserve, update=digest(f"update {number}")))
        receipt = Receipt(
            origin="fedledger.server/0123456789abcdef",
            server_key=server.public,
            index=number,
            ledger_id=genesis.ledger_id,
            sequence=release,
            entry=line_hash(lines[-1]),
            run=RUN,
            round=number,
        )
        held = HeldCheckpoint(size=number + 1, root=digest("root"), signature=bytes(64))
        add(Acknowledged(release=release, receipt=receipt.sign(server), checkpoint=held))
    return lines


def seconds(work: Callable[[], object]) -> float:
    """Return the processor time that something takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def reading(lines: list[str], key: SigningKey) -> None:
    """Compare verifying a ledger with verifying as many bare signatures over its lines."""
    messages = [line.encode() for line in lines] + [b"receipt" * 60] * (len(lines) // ENTRIES_A_ROUND)
    signed = [(message, key.sign(message)) for message in messages]

    def bare() -> None:
        for message, signature in signed:
            verify(key.public, message, signature)

    pairs = [(seconds(lambda: parse_lines(lines)), seconds(bare)) for _ in range(REPEATS)]
    whole, signatures = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(one / other for one, other in pairs)
    print(f"verify   {len(lines) / whole:9,.0f} entries/s, {whole / len(lines) * 1e6:.0f} us an entry")
    print(f"         {len(signed) / signatures:9,.0f} bare signatures/s; all takes {ratio:.2f} times these")


def appending(lines: list[str], key: SigningKey, folder: Path, count: int = 500) -> None:
    """Compare appending to a long ledger with writing lines of the same length durably."""
    path = folder / "ledger.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    started = time.perf_counter()
    ledger = Ledger.open(path, key)
    print(f"open     {time.perf_counter() - started:9.2f} s, {path.stat().st_size / 2**20:.1f} MiB")
    started = time.perf_counter()
    for number in range(count):
        ledger.append(charge(10**6 + number))
    ours = time.perf_counter() - started
    data = ledger.view.lines[-1].encode()
    with (folder / "bare").open("wb", buffering=0) as file:
        started = time.perf_counter()
        for _ in range(count):
            file.write(data)
            os.fsync(file.fileno())
        bare = time.perf_counter() - started
    print(f"append   {count / ours:9,.0f} entries/s, {count / bare:,.0f} bare durable writes/s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3333)
    rounds = parser.parse_args().rounds
    key, server = SigningKey.generate(), SigningKey.generate()
    lines = history(key, server, rounds)
    print(f"ledger   {len(lines):9,} entries of {rounds} rounds")
    reading(lines, key)
    with tempfile.TemporaryDirectory() as folder:
        appending(lines, key, Path(folder))


if __name__ == "__main__":
    main()
