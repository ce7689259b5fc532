"""Every finding that an audit can make, by its stable code: how grave it is, what it means, what to do.

docs/findings.md is held to this registry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Code:
    """What stands behind a finding's code.

    Args:
        severities: those that it may have, the gravest first.
        meaning: for a reader who knows no differential privacy.
        advice: what to do about it.
    """

    severities: tuple[Severity, ...]
    meaning: str
    advice: str


def error_code(meaning: str, advice: str, *milder: Severity) -> Code:
    """Describe what refutes the claim; under some circumstances it may be milder."""
    return Code(("error", *milder), meaning, advice)


def warning_code(meaning: str, advice: str, *milder: Severity) -> Code:
    """Describe what weakens trust in the claim."""
    return Code(("warning", *milder), meaning, advice)


def note_code(meaning: str, advice: str) -> Code:
    """Describe what is good to know."""
    return Code(("note",), meaning, advice)


_ASK = "Ask the client for its own copy of the ledger, and audit that."
_BACKUP = "Put the newest copy back. If none is whole, count the client's budget as spent."
_SETTINGS = "Find out which of the two was changed. Rely on the ledger: it is signed."
_SETTINGS_OR_ROUNDS = "Find out which of the two was changed. The server's log holds the hash of every round."
_RULE = "Do not rely on this client's epsilon. Update its program, and begin with new data."

_LEDGER_CODES: dict[str, Code] = {
    "ledger-torn": error_code("The file does not end with a complete entry: it was cut.", _BACKUP),
    "ledger-unreadable": error_code("The file cannot be read at all.", "Permit access to it."),
    "entry-not-canonical": error_code("An entry is not in the one form that clients write.", _BACKUP),
    "entry-malformed": error_code("An entry has a field that no client writes.", _BACKUP),
    "entry-out-of-order": error_code("An entry stands where it cannot, such as a second beginning.", _BACKUP),
    "chain-broken": error_code("Entries were removed, added, exchanged or renumbered.", _BACKUP),
    "signature-wrong": error_code("An entry was changed, or signed by somebody else.", _BACKUP),
    "receipt-wrong": error_code("A receipt belongs elsewhere, or was changed.", _BACKUP),
    "held-checkpoint-wrong": error_code(
        "A client keeps a state of the server's log that the server never signed.", _ASK
    ),
    "ledger-shared": error_code("Two clients present one ledger, so one of them has none.", _ASK),
    "ledger-swapped": error_code("A client's place holds the ledger of another client.", _ASK),
    "second-ledger": error_code(
        "Two ledgers belong to one key or data set: its budget may have been spent twice.",
        "Add up what both spent, and stop using one of them.",
    ),
    "ledger-rollback": error_code("Entries that were seen before are missing at the end.", _BACKUP),
    "ledger-fork": error_code("Another entry stands where one was seen before.", _BACKUP),
    "enrolment-missing": error_code("The server never saw this ledger.", _ASK),
    "stray-ledger": warning_code("A file among the ledgers has no client's name.", "Move it elsewhere."),
    "mechanism-changed": error_code(
        "Noise or sampling changed, though the ledger promises one setting for life.",
        'Take the epsilon as a lower limit only. Begin ledgers with privacy.accounting = "adaptive".',
    ),
    "filter-exceeded": error_code("More was charged than the ledger's own filter lets through.", _RULE),
    "budget-exceeded": error_code("A client spent more than its lifetime budget.", "Stop using this data."),
    "accountants-disagree": warning_code(
        "Two independent calculations differ in the direction that cannot be.", "Report it to FedLedger."
    ),
    "nonce-repeated": error_code(
        "A charge names a number that the server gave for another round or client.", _RULE
    ),
    "sampler-not-poisson": error_code("Images were not chosen by chance in each step.", _RULE),
    "noise-missing": error_code("Noise is claimed, but no source of it is named.", _RULE),
    "clip-missing": error_code("Nothing limits how far one image moves the model.", _RULE),
    "normaliser-differs": error_code("Sums were divided by something that may be secret.", _RULE),
    "delta-too-large": error_code(
        "Delta is above 1/n: publishing an image at random would pass.", "Begin ledgers with a smaller delta."
    ),
    "delta-large": note_code("Delta is above 1/(10 n), the custom.", "Prefer a smaller delta."),
    "key-rotated": note_code("A client changed its signing key.", "Ask the client if you did not expect it."),
    "amended": note_code("A client's data set grew or shrank.", "Nothing; what was spent still counts."),
    "charge-aborted": note_code("A charged attempt was broken off.", "Nothing; its charge stays."),
}

_RUN_CODES: dict[str, Code] = {
    "rounds-out-of-order": error_code("A round is missing or stands at a wrong place.", _BACKUP),
    "model-chain-broken": error_code("A round began with another model than the last one made.", _BACKUP),
    "model-missing": error_code("The trained model is not there.", _BACKUP),
    "model-differs": error_code("The model is not the one that was trained.", _BACKUP),
    "model-average-differs": error_code(
        "A round's result is an average over rounds, or is not, unlike the settings.", _SETTINGS_OR_ROUNDS
    ),
    "participants-differ": error_code("A round names other clients than updates.", _BACKUP),
    "ledger-missing": error_code("A client took part whose ledger is not there.", _ASK),
    "charge-missing": error_code("A client's update was never charged.", _ASK),
    "release-missing": error_code("A client's update was never released, says its ledger.", _ASK),
    "update-differs": error_code("A client's update is another than its ledger says.", _ASK),
    "input-model-differs": error_code("A client trained from another model than the server.", _ASK),
    "other-runs": note_code("The data also served other runs.", "Nothing; they count."),
    "unused-charge": note_code("A charge led to no update that counted.", "Nothing; it stays charged."),
    "other-code": note_code("Different programs trained in one run.", "Find out who updated, and when."),
    "no-rounds": warning_code("No round was completed.", "Continue the run with --resume."),
    "run-unfinished": note_code("The run ended before its last round.", "Continue it with --resume."),
    "more-rounds": warning_code("More rounds than the settings plan.", _SETTINGS),
    "evaluation-differs": warning_code("The test results are not of the last round.", "Evaluate again."),
    "delta-differs": error_code("A ledger has another delta than the settings.", _SETTINGS, "warning"),
    "budget-differs": error_code("A ledger has another budget than the settings.", _SETTINGS, "warning"),
    "unknown-client": warning_code("A ledger of a client without images.", "Find out whose it is."),
    "size-differs": error_code("A client states another number of images than it was given.", _SETTINGS),
    "protection-differs": error_code("Privacy was on in one place and off in the other.", _SETTINGS),
    "steps-differ": error_code("Another number of steps than the settings say.", _SETTINGS),
    "sample-rate-differs": error_code("Another sampling chance than the settings say.", _SETTINGS),
    "clip-differs": error_code("Another clipping bound than the settings say.", _SETTINGS),
    "noise-multiplier-differs": error_code("Another amount of noise than the settings say.", _SETTINGS),
    "noise-source-differs": error_code("Another source of noise than the settings say.", _SETTINGS),
    "report-differs": error_code(
        "An earlier report says what the records do not support; it is kept as report.contradicted.",
        "Do not rely on it, and tell those who have a copy. Delete it to end this finding.",
    ),
}

_LOG_CODES: dict[str, Code] = {
    "log-missing": error_code(
        "The server's log is not there, so nothing shows whether ledgers lost their last entries.",
        "Ask the server's owner for the log.",
        "note",
    ),
    "log-damaged": error_code("The server's log is not what the server signed.", _BACKUP),
    "log-unsigned-tail": error_code(
        "Lines at the end of the log were never signed: left by a crash, or added by somebody.",
        "Resume the run: the server cuts them off. If it did not crash, put the log back.",
    ),
    "log-rollback": error_code("The server's log lost what clients saw in it.", _BACKUP),
    "log-split": error_code("The server showed clients different logs.", "Do not trust this server."),
    "round-differs": error_code("What is told of a round is not what was logged.", _BACKUP),
    "round-not-in-log": error_code("A round was added after the run.", _BACKUP),
    "round-missing": error_code("A logged round is not told of.", _BACKUP, "warning"),
    "receipt-missing": warning_code(
        "The server did not confirm an update; if it is the last one, the receipt is still on its way.",
        "Let the client take part again, or ask the server's owner.",
        "note",
    ),
    "receipt-not-in-log": error_code("A client holds a receipt that is not in the log.", _ASK),
    "receipt-by-other-server": error_code(
        "A receipt is signed by another server; a note where it is of another run.", _ASK, "note"
    ),
}

CODES: Mapping[str, Code] = _LEDGER_CODES | _RUN_CODES | _LOG_CODES
"""All codes, those of ledgers first, then those of runs and of server logs."""

LEDGER_FLAWS = frozenset(
    {
        "ledger-torn",
        "ledger-unreadable",
        "entry-not-canonical",
        "entry-malformed",
        "entry-out-of-order",
        "chain-broken",
        "signature-wrong",
        "receipt-wrong",
    }
)
"""Codes that say that a ledger as a whole could not be used."""
