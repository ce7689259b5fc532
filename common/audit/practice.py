"""How the claim is put into practice: what was checked, how it is implemented, and how it is run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Practice:
    """What a reader who must answer for the data asks next, in words.

    Args:
        checks: what this audit recomputed or compared.
        attacks: what was done to find out by attack what the model gives away.
        floating_point: how computer arithmetic bears on the guarantee.
        exhaustion: what happens when a budget is used up.
        keys: who can sign, and what follows.
        verification: how a reader checks the report.
    """

    checks: tuple[str, ...]
    attacks: str
    floating_point: str
    exhaustion: str
    keys: str
    verification: tuple[str, ...]


PRACTICE = Practice(
    checks=(
        "Every line of every ledger: its form, its place in the chain, its signature.",
        "Every round: it began with the model with which the one before ended, and every update that counted "
        "has a charge in its client's ledger.",
        "Every charge: against the run's settings, and against the rules under which an epsilon may be "
        "computed from it.",
        "The server's log, where there is one: what the server signed of it, every receipt, and how far each "
        "ledger was when the server last saw it.",
        "Every epsilon: computed anew from all charges of a ledger, by two methods.",
    ),
    attacks="None was tried on this model. The limit follows from the recorded mechanism by mathematics; an "
    "attack could only show that the program does something else.",
    floating_point="Noise is made of floating-point numbers, which are coarser than the real numbers that "
    "the mathematics assumes. Each noised sum is rounded to a public grid, which takes away the digits that "
    "the known attacks read; this mitigates and does not prove.",
    exhaustion="A client whose next step would exceed its budget refuses to train, for good: no restart and "
    "no new run gives any of it back. The run goes on with the others, or ends.",
    keys="Each ledger is signed with its client's own key (Ed25519). Whoever holds that key can write "
    "another ledger from the beginning, so keep it where the images are, and the heads of this report "
    "elsewhere. In a simulation, one computer holds all keys.",
    verification=(
        "`fedledger audit RUN` recomputes every number from the run folder; its exit status is 0 if the "
        "report is verified.",
        "`fedledger ledger show FILE` prints a ledger and checks its chain and signatures.",
        "The head of a ledger is the SHA-256 of its last line without the newline. A ledger that later does "
        "not contain the head given here was rewritten.",
    ),
)
