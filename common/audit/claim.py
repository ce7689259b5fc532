"""What the reported epsilon claims, what it leaves open, and which assumptions it rests on."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

from common.audit.codes import LEDGER_FLAWS

Holds = Literal["checked", "recorded", "broken", "not checkable"]

_UNCHARGED = LEDGER_FLAWS | {"ledger-missing", "charge-missing", "ledger-rollback", "ledger-fork"}
"""Findings after which some update may not be in a ledger."""


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The guarantee in words: for whom, against whom, and where it ends."""

    unit: str
    people: str
    adjacency: str
    adversary: str
    collusion: str
    noise: str
    accesses: tuple[str, ...]
    covers: tuple[str, ...]
    does_not_cover: tuple[str, ...]
    undetectable: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """Something the epsilon relies on, and whether this run's records support it.

    Args:
        holds: 'checked' by this audit, 'recorded' by the client, 'broken' according to the records, or
            'not checkable' from outside.
    """

    text: str
    holds: Holds
    why: str


CLAIM = Claim(
    unit="one training image of one client",
    people="everyone behind a training image of a client whose ledger is listed; nobody behind the images of "
    "a client whose ledger could not be read",
    adjacency="zero-out: two data sets are neighbours when one image is replaced by an empty record; the "
    "number of images of a client is public",
    adversary="the server, every other client and anyone who reads the models, seeing every message of every "
    "round; nobody's silence is assumed, so no advantage is drawn from choosing clients at random",
    collusion="the server and all other clients together learn no more about an image than its client's "
    "epsilon permits, for they count as one adversary; a client that helps them against its own images is "
    "not guarded against",
    noise="each client adds its own noise before anything leaves it; no server is trusted to do so",
    accesses=(
        "Training, in every round, run and restart of this data set: each access is a charge of its own.",
        "Trying other settings on the same images (tuning), kept or thrown away: charged like any other run.",
        "Attempts that were broken off: charged when they began, whether or not anything was sent.",
    ),
    covers=(
        "Every update that a client sent in any round, and everything computed from them: the models of all "
        "rounds, their accuracy, this report.",
        "Every charge ever written into a client's ledger: all rounds, runs, restarts and settings, also the "
        "attempts that never led to an update.",
        "Each client by itself. Clients with different images do not add up: the largest epsilon counts.",
    ),
    does_not_cover=(
        "The number of images of a client, its settings, and that it took part: these are public.",
        "A person with several images: k images together are protected less, with roughly k times epsilon.",
        "An image held by several clients: the epsilons of those clients add up.",
        "What is true of many images alike. A model may learn what a class looks like; that is its purpose.",
        "Choices made by looking at the images outside FedLedger, such as cleaning, labelling or choosing a "
        "model.",
        "The test images used to measure accuracy, which are taken to be public.",
        "The computers themselves. In a simulation, one computer holds all images and all signing keys.",
    ),
    undetectable=(
        "A client that trains in secret and sends only the result it likes best.",
        "A client that states a wrong number of images.",
        "Noise that looks random but is known to somebody.",
        "A client that samples, clips or adds noise other than its ledger says.",
        "An image that several clients hold: each counts it by itself, and nobody compares images.",
        "More than one person or thing behind what a client counts as one image.",
        "Charges at the end of a ledger that its client cuts off before anybody else has seen them.",
        "A client and a server that together write ledger and log anew from the beginning; whoever holds the "
        "signing keys can do so, in a simulation whoever holds the run folder's keys.",
        "A whole folder, ledgers and log alike, put back to an older state, if nobody kept a later copy or "
        "report.",
        "Somebody who stole a key and signs in the client's or the server's name.",
        "A client that shows auditors different ledgers, where no server's log holds its heads.",
        "What the time that an answer takes, or its absence, tells about the images.",
    ),
)


def assumptions(
    *, samplers: Collection[str], noise_sources: Collection[str], protected: bool, broken: Collection[str]
) -> tuple[Assumption, ...]:
    """List what the epsilon rests on.

    Args:
        samplers: names recorded in the ledgers.
        noise_sources: names recorded in the ledgers.
        protected: whether every charged computation added noise.
        broken: codes of findings of severity error.
    """
    return tuple(_assumptions(set(samplers), set(noise_sources), protected, set(broken)))


def _assumptions(
    samplers: set[str], noise_sources: set[str], protected: bool, broken: set[str]
) -> Iterator[Assumption]:
    yield Assumption(
        text="Every update that was used is in a ledger.",
        holds="broken" if broken & _UNCHARGED else "checked",
        why="Each has a charge, written and signed before the training. A client that trains in secret and "
        "sends nothing leaves no trace.",
    )
    yield Assumption(
        text="Every step uses a fresh random sample, in which each image has the recorded chance.",
        holds="recorded" if samplers <= {"poisson"} and protected else "broken",
        why="The sample itself never leaves the client, since the claim depends on its secrecy.",
    )
    yield Assumption(
        text="No image moves a step by more than the clipping bound.",
        holds="recorded" if protected else "broken",
        why="The client's program clips the gradient of every image; the ledger states the bound.",
    )
    yield Assumption(
        text="Sums are divided by the public expected batch size, not by the actual one.",
        holds="broken" if "normaliser-differs" in broken else "checked",
        why="The recorded divisor equals the number of images times the sampling chance.",
    )
    yield Assumption(
        text="Settings were not changed in view of results, or a filter kept the budget all the same.",
        holds="broken" if broken & {"mechanism-changed", "filter-exceeded"} else "checked",
        why="Each ledger either uses one noise and one sampling chance for life, or names a filter.",
    )
    yield Assumption(
        text="Nobody can predict the noise.",
        holds="recorded" if noise_sources <= {"chacha20"} and protected else "broken",
        why="ChaCha20 with a key from the operating system is expected; a seed known to anyone breaks this.",
    )
    yield Assumption(
        text="Computer arithmetic does not give the noise away.",
        holds="not checkable",
        why="Noised sums are rounded to a public grid, which takes away the digits that known attacks read; "
        "this is no proof.",
    )
    yield Assumption(
        text="The chance of an unlimited loss, delta, is small for the number of images.",
        holds="broken" if "delta-too-large" in broken else "checked",
        why="Delta is at most 1/n for a client with n images.",
    )
    yield Assumption(
        text="Losses, batch sizes, sample choices and errors of a client tell nothing.",
        holds="not checkable",
        why="The program does not send them; a ledger cannot show what was never written.",
    )
