"""What a client and its worker say to each other: orders through a pipe, reports as lines of JSON.

No order and no secret stands in an argument, where every account of the machine could read it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from client.deployment.facts import Facts
from client.deployment.node import Access


@dataclass(frozen=True, kw_only=True)
class Opening:
    """The first order: whose records to open, and how to log.

    Args:
        facts: the site's own.
        is_first: whether the client starts: what is wrong with the site then ends it, and later is an answer.
        log_format: `text` or `json`.
        log_level: of `logging`.
    """

    facts: Facts
    is_first: bool
    log_format: str
    log_level: int


class Word(Enum):
    """A short order: look for a message that came, or end once nothing is at hand."""

    LOOK = "look"
    FINISH = "finish"


Order = Opening | Access | Word

OPENED, FAILED, TOOK, GAVE, REPLACE = "opened", "failed", "took", "gave", "replace"
"""A worker's reports: the site is open, or is not to be had; a message was taken, and answered; the SuperNode
is of no use any more."""
ENDED = "ended"
"""What the client itself notes when a worker is gone."""
