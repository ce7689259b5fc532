"""Batches are what the accountant assumes: every record on its own, with the stated probability."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from client.noise import ChaChaStream
from client.sampling import PoissonSampler

DRAWS = 4000


def membership(num_examples: int, rate: Fraction, key: int = 1) -> NDArray[np.bool_]:
    """Return whether each record is in each batch, [draws, records]."""
    sampler = PoissonSampler(num_examples, rate, ChaChaStream(bytes([key]) * 32))
    members = np.zeros((DRAWS, num_examples), dtype=bool)
    for row in members:
        row[sampler.draw()] = True
    return members


@pytest.mark.parametrize("rate", [Fraction(10, 103), Fraction(1, 2), Fraction(1, 200)])
def test_batch_sizes_are_binomial(rate: Fraction) -> None:
    n, q = 103, float(rate)
    sizes = membership(n, rate).sum(axis=1)
    variance = n * q * (1 - q)
    assert sizes.mean() == pytest.approx(n * q, abs=4 * (variance / DRAWS) ** 0.5)
    assert sizes.var() == pytest.approx(variance, rel=0.15)
    values = np.arange(sizes.max() + 2)
    observed = np.append(np.bincount(sizes), 0)
    expected = stats.binom.pmf(values, n, q) * DRAWS
    common = expected >= 5
    observed = np.append(observed[common], observed[~common].sum())
    expected = np.append(expected[common], DRAWS - expected[common].sum())
    assert stats.chisquare(observed, expected).pvalue > 1e-3


def test_the_rate_is_ten_in_103_and_not_one_in_eleven() -> None:
    taken = membership(103, Fraction(10, 103)).sum()
    trials = 103 * DRAWS
    assert stats.binomtest(int(taken), trials, 10 / 103).pvalue > 1e-3
    assert stats.binomtest(int(taken), trials, 1 / 11).pvalue < 1e-9


def test_every_record_is_equally_likely() -> None:
    counts = membership(103, Fraction(10, 103), key=2).sum(axis=0)
    spread = DRAWS * (10 / 103) * (93 / 103)
    assert stats.chi2.sf(((counts - DRAWS * 10 / 103) ** 2 / spread).sum(), 103) > 1e-3


def test_records_and_draws_are_independent() -> None:
    members = membership(40, Fraction(1, 4)).astype(np.float64)
    between_records = np.corrcoef(members.T) - np.eye(40)
    assert np.abs(between_records).max() < 5 / DRAWS**0.5
    between_draws = stats.pearsonr(members[:-1].ravel(), members[1:].ravel()).statistic
    assert abs(between_draws) < 4 / members.size**0.5
