"""How the averaged update moves the model: the server's optimisers, each a function of its moments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.arrays import Arrays
from common.config import FederationSettings

_LARGEST = np.float32(1e15)
"""A larger update counts as this one in the mean square, which would overflow and then spoil the model."""

_Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Moments:
    """What an optimiser remembers of earlier rounds; both are shaped like the model.

    Args:
        first: running sum (sgd) or mean of averaged updates.
        second: running mean (adam, yogi) or sum (adagrad) of their squares; None with sgd.
    """

    first: Arrays
    second: Arrays | None = None


def initial_moments(settings: FederationSettings, arrays: Arrays) -> Moments:
    """Return the moments before the first round: no velocity, and squares of tau^2."""
    first = {name: np.zeros_like(value) for name, value in arrays.items()}
    if settings.server_optimizer == "sgd":
        return Moments(first=first)
    floor = np.float32(settings.server_tau) ** 2
    return Moments(first=first, second={name: np.full_like(value, floor) for name, value in arrays.items()})


def stepped(
    settings: FederationSettings, arrays: Arrays, moments: Moments, update: Arrays
) -> tuple[Arrays, Moments]:
    """Return the model and the moments after a round.

    Source: McMahan et al. 2017 (Algorithm 1); Hsu et al. 2019 (FedAvgM); Reddi et al. 2021, "Adaptive
    Federated Optimization" (Algorithm 2), without a correction of bias.

    Args:
        settings: which optimiser, and its constants.
        arrays: the model before the round.
        moments: what the optimiser remembers, of its own kind.
        update: the clients' weighted mean update, shaped like `arrays`.

    Privacy:
        It is computed from noised updates alone: post-processing, which costs nothing.
    """
    if moments.second is None:
        return _plain(settings, arrays, moments.first, update)
    return _adaptive(settings, arrays, moments.first, moments.second, update)


def _plain(
    settings: FederationSettings, arrays: Arrays, velocity: Arrays, update: Arrays
) -> tuple[Arrays, Moments]:
    """Move by the velocity: v <- momentum * v + update, w <- w + rate * v."""
    momentum, rate = np.float32(settings.server_momentum), np.float32(settings.server_rate)
    first = {name: momentum * velocity[name] + update[name] for name in arrays}
    return {name: arrays[name] + rate * first[name] for name in arrays}, Moments(first=first)


def _adaptive(
    settings: FederationSettings, arrays: Arrays, mean: Arrays, squares: Arrays, update: Arrays
) -> tuple[Arrays, Moments]:
    """Move by the mean over the root of the squares: w <- w + rate * m / (sqrt(s) + tau)."""
    beta1, rate = np.float32(settings.server_momentum), np.float32(settings.server_rate)
    tau, beta2 = np.float32(settings.server_tau), np.float32(settings.server_beta2)
    grown = _SQUARES[settings.server_optimizer]
    first = {name: beta1 * mean[name] + (1 - beta1) * update[name] for name in arrays}
    second = {name: grown(squares[name], _squared(update[name]), beta2) for name in arrays}
    roots: Arrays = {name: np.sqrt(second[name]) for name in arrays}
    moved = {name: arrays[name] + rate * first[name] / (roots[name] + tau) for name in arrays}
    return moved, Moments(first=first, second=second)


def _squared(update: _Array) -> _Array:
    return np.square(np.clip(update, -_LARGEST, _LARGEST))


_SQUARES: dict[str, Callable[[_Array, _Array, np.float32], _Array]] = {
    "adam": lambda before, square, beta2: beta2 * before + (1 - beta2) * square,
    "yogi": lambda before, square, beta2: before - (1 - beta2) * square * np.sign(before - square),
    "adagrad": lambda before, square, _: before + square,
}
"""(squares before, the square of an update, beta2) -> squares after."""
