from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from common.ledger import Abort, Genesis, Ledger, Release, Reserve, SigningKey
from common.privacy.mechanisms import PoissonGaussian

MODEL, UPDATE, NONCE, CODE, DATA = ("a" * 64, "b" * 64, "c" * 64, "d" * 64, "e" * 64)


@pytest.fixture
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledgers" / "client-0.jsonl"


@pytest.fixture
def ledger(path: Path, key: SigningKey) -> Ledger:
    """A ledger that holds its GENESIS only: n 100, epsilon 8, delta 1e-5."""
    terms = {"delta": 1e-5, "budget_epsilon": 8.0, "num_examples": 100}
    return Ledger.create(path, key, Genesis.new(key, **terms, commitment=DATA))


@pytest.fixture
def reserve() -> Callable[..., Reserve]:
    """Make a charge of 3 steps at sigma 1.25 and q 1/5."""

    def make(number: int = 1, run: str = "run-1") -> Reserve:
        return Reserve(
            run=run,
            round=number,
            purpose="train",
            mechanisms=(PoissonGaussian(noise_multiplier=1.25, sample_rate=Fraction(1, 5), num_steps=3),),
            max_grad_norm=1.0,
            normaliser=Fraction(20),
            sampler="poisson",
            noise_source="chacha20",
            input_model=MODEL,
            server_nonce=NONCE,
            code_digest=CODE,
            libraries={"opacus": "1.6.0"},
        )

    return make


@pytest.fixture
def filled(ledger: Ledger, reserve: Callable[..., Reserve]) -> Ledger:
    """GENESIS, a released round, an aborted one, an open one: six entries."""
    ledger.append(reserve(1))
    ledger.append(Release(run="run-1", round=1, reserve=1, update=UPDATE))
    ledger.append(reserve(2))
    ledger.append(Abort(run="run-1", round=2, reserve=3, reason="out-of-memory"))
    ledger.append(reserve(1, run="run-2"))
    return ledger
