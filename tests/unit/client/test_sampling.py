from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

from client.noise import ChaChaStream
from client.sampling import PoissonSampler
from common.errors import ConfigError


class Scripted(ChaChaStream):
    """Hands out prepared words."""

    def __init__(self, words: list[int]) -> None:
        super().__init__(bytes(32))
        self.words = words

    def integers(self, count: int) -> NDArray[np.uint64]:
        taken, self.words = self.words[:count], self.words[count:]
        return np.array(taken, dtype=np.uint64)


def test_words_around_the_threshold_of_ten_in_103() -> None:
    share = 2**64 // 103
    words = [0, 10 * share - 1, 10 * share, 103 * share - 1]
    assert PoissonSampler(4, Fraction(10, 103), Scripted(words)).draw().tolist() == [0, 1]


def test_words_above_the_largest_multiple_are_drawn_again_until_accepted() -> None:
    share = 2**64 // 103  # 2**64 = 103 * share + 55, so 55 words must not count
    assert 2**64 - 103 * share == 55
    scripted = Scripted([103 * share, 5 * share, 2**64 - 1, 2**64 - 1, 3, 50 * share])
    # Records 0 and 2 are rejected; then record 0 again; it gets word 50 * share, record 2 word 3.
    assert PoissonSampler(3, Fraction(10, 103), scripted).draw().tolist() == [1, 2]
    assert scripted.words == []


def accepted_share(rate: Fraction) -> Fraction:
    """Exact probability that an accepted word selects, from the sampler's own thresholds."""
    sampler = PoissonSampler(1, rate, ChaChaStream(bytes(32)))
    return Fraction(int(sampler._last_selecting) + 1, int(sampler._last_accepted) + 1)


@pytest.mark.parametrize(
    "rate",
    [
        Fraction(10, 103),
        Fraction(1, 3),
        Fraction(0.1),
        Fraction(1),
        Fraction(2**62, 2**63 - 1),
        Fraction(1, 7),
    ],
)
def test_the_probability_is_the_rate_exactly(rate: Fraction) -> None:
    assert accepted_share(rate) == rate


def test_a_rate_of_one_takes_every_record() -> None:
    sampler = PoissonSampler(50, Fraction(1), ChaChaStream(bytes(32)))
    assert sampler.draw().tolist() == list(range(50))


def test_batches_are_sorted_distinct_and_differ() -> None:
    sampler = PoissonSampler(200, Fraction(1, 2), ChaChaStream(bytes(32)))
    first, second = sampler.draw(), sampler.draw()
    assert (np.diff(first) > 0).all()
    assert first.dtype == np.int64
    assert first.tolist() != second.tolist()


def test_empty_batches_happen() -> None:
    sampler = PoissonSampler(2, Fraction(1, 1000), ChaChaStream(bytes(32)))
    assert sampler.draw().size == 0


@pytest.mark.parametrize("rate", [Fraction(0), Fraction(-1, 2), Fraction(3, 2), Fraction(1, 2**63)])
def test_rates_out_of_range_are_refused(rate: Fraction) -> None:
    with pytest.raises(ConfigError, match="sample-rate"):
        PoissonSampler(10, rate, ChaChaStream(bytes(32)))


def test_a_client_without_records_is_refused() -> None:
    with pytest.raises(ConfigError, match="num-examples is 0"):
        PoissonSampler(0, Fraction(1, 2), ChaChaStream(bytes(32)))
