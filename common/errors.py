"""Every error that FedLedger raises on purpose.

FedLedgerError
 |- ConfigError          a setting is unknown, out of range or contradicts another
 |- DataError            images cannot be read, or are too few to train on
 |- BudgetExhausted      the next release would exceed a client's lifetime budget
 |- PolicyRefused        the client's policy does not permit what the server proposes
 |- LedgerError          a ledger cannot be used
 |   |- LedgerTampered   recorded bytes, signatures or order are not what was written
 |   |- LedgerFork       two different continuations of one ledger exist
 |- MessageError         a message does not have the agreed form
 |   |- NoAnswer         a client gave no answer
 |- CheckpointError      a run folder cannot be read or continued
 |   |- FolderInUse      another process uses it
 |- RoundFailed          a round has too few usable replies
 |- ExportFailed         an exported file does not compute what the run's model does

A message is one line: the value, what is permitted, and the way out. It never holds a record's data, since
it may cross the wire.
"""

from __future__ import annotations

HOW_TO_TRAIN = "in FedLedger's folder, pip install '.[train]'"
"""How an installation that only audits gets what trains."""


class FedLedgerError(Exception):
    """Base of every deliberate error; `code` is stable and safe to send to a server.

    A command that an error ends has its `exit_status`.
    """

    code = "error"
    exit_status = 2


class ConfigError(FedLedgerError):
    """A setting is unknown, out of range or contradicts another."""

    code = "config"


class WeightsError(ConfigError):
    """The weights of a frozen backbone cannot be had on this machine."""

    code = "weights"


class DataError(FedLedgerError):
    """Images cannot be read, or are too few to train on."""

    code = "data"


class BudgetExhausted(FedLedgerError):
    """The next release would exceed a client's lifetime budget."""

    code = "budget-exhausted"


class PolicyRefused(FedLedgerError):
    """The client's policy does not permit what the server proposes."""

    code = "policy-refused"


class LedgerError(FedLedgerError):
    """A ledger cannot be used."""

    code = "ledger"


class LedgerTampered(LedgerError):
    """Recorded bytes, signatures or order are not what was written.

    Args:
        flaw: the kind of damage, as an audit's finding names it.
        entry: number of the first ledger entry that shows it, None where no single one does.
    """

    code = "ledger-tampered"

    def __init__(self, message: str, *, flaw: str = "ledger-damaged", entry: int | None = None) -> None:
        super().__init__(message)
        self.flaw = flaw
        self.entry = entry


class LedgerFork(LedgerError):
    """Two different continuations of one ledger exist."""

    code = "ledger-fork"


class MessageError(FedLedgerError):
    """A message does not have the agreed form."""

    code = "message"


class NoAnswer(MessageError):
    """A client gave no answer: it is gone, too slow, or was cut off."""

    code = "no-answer"


class CheckpointError(FedLedgerError):
    """A run folder cannot be read or continued."""

    code = "checkpoint"


class FolderInUse(CheckpointError):
    """Another process uses a run folder."""

    code = "folder-in-use"


class RoundFailed(FedLedgerError):
    """A round has too few usable replies."""

    code = "round-failed"


class ExportFailed(FedLedgerError):
    """An exported file does not compute what the run's model does."""

    code = "export-failed"
