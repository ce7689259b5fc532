"""Three made-up clients, of whom the second may answer badly, and how to look at what came of it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from common.arrays import Arrays, digest
from common.run_folder import RunFolder
from tests.small_federation import MODEL, Change, MadeUpClient


def clients(*, bad: Change | None = None, bad_in: tuple[int, ...] = ()) -> list[MadeUpClient]:
    """Return the clients.

    Mean of all: (10 * 1 + 20 * 7 + 30 * 4) / 60 = 4.5; without the second: (10 * 1 + 30 * 4) / 40 = 3.25.
    """
    return [
        MadeUpClient(0, 10, 1.0),
        MadeUpClient(1, 20, 7.0, change=bad, change_in=bad_in),
        MadeUpClient(2, 30, 4.0),
    ]


def moved(by: float, arrays: Arrays = MODEL) -> Arrays:
    """Return a model moved by the same in every place."""
    return {name: array + np.float32(by) for name, array in arrays.items()}


def same(one: Arrays, other: Arrays) -> bool:
    """Say whether two models are the same, bit for bit."""
    return digest(one) == digest(other)


def lines(folder: RunFolder) -> list[dict[str, Any]]:
    """Return what was written about each round."""
    return [json.loads(line) for line in folder.rounds.read_text().splitlines()]
