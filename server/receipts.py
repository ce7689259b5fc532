"""What the server confirms, and remembers: its log of ledgers, receipts, rounds and last heads.

The log outlives runs when it lies in a ledger home. It alone tells the server which ledgers it has seen, so
that a second ledger for one data set, a rollback and a fork are recognised in a later run too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from common import canonical
from common.errors import LedgerFork
from common.ledger import Genesis, KeyRotate, LedgerView, SigningKey
from common.ledger.keys import NONCE, passphrase_from_environment
from common.ledger.receipts import HeldCheckpoint, Receipt, SignedReceipt
from common.protocol import Delivery
from common.run_folder import LedgerHome, write_atomically
from common.transparency.held import hold
from common.transparency.identity import KEY_FILE, log_name
from common.transparency.leaves import (
    Enrolment,
    Leaf,
    LoggedHead,
    LoggedRound,
    leaf_from_json,
    leaf_to_json,
)
from common.transparency.log import ServerLog
from common.transparency.note import open_checkpoint, verifier_key


class ReceiptBook:
    """The server's log, open for one run.

    Args:
        key: the server's key.
        log: its log, held open so that no other process can sign another history.
    """

    def __init__(self, key: SigningKey, log: ServerLog) -> None:
        self._key = key
        self._log = log
        self._origin = log_name(key.public)
        self._enrolled: dict[str, Enrolment] = {}
        self._owners: dict[str | bytes, str] = {}
        self._numbers: dict[int, str] = {}
        self._receipts: dict[str, SignedReceipt] = {}
        self._last: dict[str, tuple[int, str]] = {}
        for line in log.lines:
            self._remember(leaf_from_json(canonical.loads(line)))

    @classmethod
    def open(cls, home: LedgerHome) -> Self:
        """Open a home's log, or begin it with a new key.

        Raises:
            LedgerTampered: when the log is not what its key signed.
            LedgerError: when another process has it open, or the disk refuses.
        """
        secret = passphrase_from_environment()
        if home.server_key.exists():
            key = SigningKey.load(home.server_key, secret)
        else:
            key = SigningKey.generate()
            key.save(home.server_key, secret)
        book = cls(key, ServerLog.open(home.server, key, log_name(key.public)))
        public = verifier_key(log_name(key.public), key.public) + "\n"
        write_atomically(home.server / KEY_FILE, public.encode())
        return book

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()

    def nonce(self, run: str, number: int, ledger_id: str) -> str:
        """Return the number that a charge of a round has to name; nobody else can foresee it."""
        payload = f"{run} {number} {ledger_id}".encode()
        return hashlib.sha256(self._key.sign(payload, NONCE)).hexdigest()

    def check(self, partition_id: int, ledger: LedgerView) -> None:
        """Hold a client's ledger against everything that was confirmed before.

        Raises:
            LedgerFork: when it is a second one for the client, key or data set, or lacks confirmed entries.
        """
        identity = ledger.genesis.ledger_id
        for mark in marks_of(ledger):
            owner = self._owners.get(mark, identity)
            if owner != identity:
                raise LedgerFork(
                    f"ledger {identity[:12]} is a second one for the key or data of ledger {owner[:12]}: "
                    "a data set has one ledger for life, bring that one"
                )
        earlier = self._numbers.get(partition_id, identity)
        if earlier != identity:
            raise LedgerFork(
                f"client {partition_id} had ledger {earlier[:12]} and now shows {identity[:12]}, which "
                "knows nothing of what was spent: bring the first one; other images are another client, with "
                "a key of its own"
            )
        sequence, entry = self._last.get(identity, (0, ""))
        entries = ledger.entries
        if entry and (len(entries) <= sequence or entries[sequence].hash != entry):
            raise LedgerFork(
                f"ledger {identity[:12]} lacks its entry {sequence}, for which it has a receipt: "
                "put its newest copy back"
            )

    def enrol(self, partition_id: int, ledger: LedgerView) -> Enrolment | None:
        """Return the leaf that a ledger's key or data set needs and the log lacks, or None."""
        leaf = Enrolment(
            ledger_id=ledger.genesis.ledger_id,
            partition_id=partition_id,
            genesis=ledger.entries[0].hash,
            public_key=ledger.public_key,
            commitment=ledger.commitments[-1],
            num_examples=ledger.num_examples,
        )
        return None if self._enrolled.get(leaf.ledger_id) == leaf else leaf

    def head(self, run: str, ledger: LedgerView) -> LoggedHead | None:
        """Return the leaf that records how far a ledger reaches, or None where the log says so already."""
        identity, entries = ledger.genesis.ledger_id, len(ledger.entries)
        if self._last.get(identity) == (entries - 1, ledger.head):
            return None
        return LoggedHead(run=run, ledger_id=identity, entries=entries, head=ledger.head)

    def write(self, leaves: Iterable[Leaf]) -> None:
        """Add leaves; when this returns they are durable and signed."""
        new = list(leaves)
        self._log.append([leaf_to_json(leaf) for leaf in new])
        for leaf in new:
            self._remember(leaf)

    def confirm(self, ledgers: Iterable[LedgerView], record: str, run: str, number: int) -> None:
        """Write receipts for the last RELEASE of each ledger, and the record of the round.

        Args:
            ledgers: of the clients whose update was used, each with its RELEASE as last deed.
            record: the round's line in rounds.jsonl.
        """
        releases = [ledger for ledger in ledgers if ledger.last_deed.hash not in self._receipts]
        leaves = [
            self._receipt(ledger, self._log.size + place, run, number)
            for place, ledger in enumerate(releases)
        ]
        digest = hashlib.sha256(record.encode()).hexdigest()
        self.write([*leaves, LoggedRound(run=run, round=number, record=digest)])

    def deliveries(self, ledger: LedgerView) -> tuple[Delivery, ...]:
        """Return the receipts that a ledger lacks, each with its proof in the log's present state."""
        hashes = [ledger.entries[sequence].hash for sequence in sorted(ledger.unconfirmed)]
        receipts = [self._receipts[entry] for entry in hashes if entry in self._receipts]
        if not receipts:
            return ()
        held = self._held()
        return tuple(self._delivery(receipt, held) for receipt in receipts)

    def _receipt(self, ledger: LedgerView, index: int, run: str, number: int) -> SignedReceipt:
        receipt = Receipt(
            origin=self._origin,
            server_key=self._key.public,
            index=index,
            ledger_id=ledger.genesis.ledger_id,
            sequence=ledger.last_deed.sequence,
            entry=ledger.last_deed.hash,
            run=run,
            round=number,
        )
        return receipt.sign(self._key)

    def _held(self) -> HeldCheckpoint:
        note, public_key = self._log.checkpoint, self._key.public
        return hold(note, open_checkpoint(note, public_key, self._origin), public_key)

    def _delivery(self, receipt: SignedReceipt, held: HeldCheckpoint) -> Delivery:
        proof = self._log.inclusion_proof(receipt.receipt.index)
        return Delivery(receipt=receipt, checkpoint=held, proof=tuple(step.hex() for step in proof))

    def _remember(self, leaf: Leaf | None) -> None:
        match leaf:
            case Enrolment():
                self._enrolled[leaf.ledger_id] = leaf
                self._numbers[leaf.partition_id] = leaf.ledger_id
                for mark in (leaf.public_key, leaf.commitment):
                    self._owners.setdefault(mark, leaf.ledger_id)
            case SignedReceipt():
                confirmed = leaf.receipt
                self._receipts[confirmed.entry] = leaf
                self._last[confirmed.ledger_id] = (confirmed.sequence, confirmed.entry)
            case LoggedHead():
                self._last[leaf.ledger_id] = (leaf.entries - 1, leaf.head)


def marks_of(ledger: LedgerView) -> list[str | bytes]:
    """Return what no two ledgers may share: every key and every commitment that a ledger ever had."""
    keys = [e.body.public_key for e in ledger.entries if isinstance(e.body, Genesis | KeyRotate)]
    return [*keys, *ledger.commitments]
