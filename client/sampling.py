"""Poisson sampling: each record enters each step on its own, with an exact rational probability."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from client.noise import ChaChaStream
from common.errors import ConfigError

_WORDS = 2**64


class PoissonSampler:
    """Draws batches whose size is binomial, as the accountant of the sampled Gaussian mechanism assumes.

    Args:
        num_examples: size n of the client's data set, at least 1.
        sample_rate: probability q = a/b of each record in each step, in (0, 1], with b below 2**63.
        stream: source of the draws, used by nobody else.

    Raises:
        ConfigError: when the sample rate or the size is out of range.

    Privacy:
        The indices and how many there are stay inside the client: amplification by sampling rests on it.
    """

    def __init__(self, num_examples: int, sample_rate: Fraction, stream: ChaChaStream) -> None:
        if num_examples < 1:
            raise ConfigError(
                f"num-examples is {num_examples}; a client needs at least 1 record to sample from"
            )
        if not 0 < sample_rate <= 1 or sample_rate.denominator >= 2**63:
            raise ConfigError(
                f"sample-rate is {sample_rate}; give a fraction above 0, at most 1, denominator below 2**63"
            )
        share = _WORDS // sample_rate.denominator
        self._num_examples = num_examples
        self._last_selecting = np.uint64(sample_rate.numerator * share - 1)
        self._last_accepted = np.uint64(sample_rate.denominator * share - 1)
        self._stream = stream

    def draw(self) -> NDArray[np.int64]:
        """Return the sorted indices of one batch; it may be empty.

        A 64-bit word is accepted below the largest multiple of b and drawn again above it, so exactly a of
        every b accepted words select their record: no rounding of q, hence the q that is accounted for.
        """
        words = self._stream.integers(self._num_examples)
        while (rejected := np.flatnonzero(words > self._last_accepted)).size:
            words[rejected] = self._stream.integers(rejected.size)
        return np.flatnonzero(words <= self._last_selecting)
