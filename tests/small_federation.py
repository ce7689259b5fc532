"""A federation without training: clients that answer with made-up updates, on a grid that runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from common.arrays import Arrays, digest
from common.config import RunConfig, resolve
from common.errors import LedgerTampered
from common.ledger import Acknowledged, Genesis, Release, Reserve, SigningKey, parse_lines
from common.ledger.lines import NO_PREVIOUS, line_hash, write_line
from common.ledger.presence import prove_presence
from common.messages import parse_describe_request, parse_train_request, reply_record
from common.privacy.mechanisms import PoissonGaussian
from common.protocol import Delivery, Description, Reply, TrainRequest, Update
from common.run_folder import RunFolder
from server.copies import LedgerCopies
from server.evaluation import Evaluation
from server.observer import RunObserver
from server.receipts import ReceiptBook
from server.rounds import Coordinator
from server.state import RoundOutcome, RunState, TurnedAway
from tests.run_folders import sha256

MODEL: Arrays = {"a": np.float32([1, 2]), "b": np.float32([[4]])}
"""The shape of every update of the made-up clients below; used where a test needs no real network."""

Answer = Reply | RecordDict | Message
Change = Callable[["MadeUpClient", TrainRequest, Update], Answer]


@dataclass
class MadeUpClient:
    """A client with a true ledger, whose update is one value in every place.

    Args:
        value: of every entry of its updates.
        change: turns its honest reply into another, in the rounds of `change_in` (all where empty).
    """

    partition_id: int
    num_examples: int
    value: float
    change: Change | None = None
    change_in: tuple[int, ...] = ()
    key: SigningKey = field(default_factory=SigningKey.generate)
    lines: list[str] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    classes: list[tuple[str, ...]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        terms = {"delta": 1e-5, "budget_epsilon": 8.0, "num_examples": self.num_examples}
        self.write(Genesis.new(self.key, **terms, commitment=sha256(f"records of {self.partition_id}")))

    def write(self, body: Any, key: SigningKey | None = None) -> int:
        """Append an entry and return its number."""
        previous = line_hash(self.lines[-1]) if self.lines else NO_PREVIOUS
        self.lines.append(write_line(body, sequence=len(self.lines), previous=previous, key=key or self.key))
        return len(self.lines) - 1

    def reserve(self, request: TrainRequest) -> int:
        """Charge a round as proposed, with noise multiplier 2."""
        rate = request.proposal.training.sample_rate_for(self.num_examples)
        steps = request.proposal.training.steps_for(rate)
        mechanism = PoissonGaussian(noise_multiplier=2.0, sample_rate=rate, num_steps=steps)
        body = Reserve(
            run=request.run,
            round=request.round,
            purpose="train",
            mechanisms=(mechanism,),
            max_grad_norm=request.proposal.max_grad_norm,
            normaliser=self.num_examples * rate,
            sampler="poisson",
            noise_source="chacha20",
            input_model=digest(request.arrays),
            server_nonce=request.server_nonce,
            code_digest=sha256("code"),
        )
        return self.write(body)

    def presence(self, run: str) -> bytes:
        """Sign for its ledger, if it is one that can be read."""
        try:
            return prove_presence(parse_lines(self.lines), run, self.key)
        except LedgerTampered:
            return b""

    def keep(self, deliveries: tuple[Delivery, ...]) -> None:
        """Store receipts."""
        for delivery in deliveries:
            sequence = delivery.receipt.receipt.sequence
            held = {"receipt": delivery.receipt, "checkpoint": delivery.checkpoint}
            self.write(Acknowledged(release=sequence, **held))

    def release(self, request: TrainRequest, update: Arrays, *, reserve: int) -> None:
        """Record what leaves."""
        self.write(Release(run=request.run, round=request.round, reserve=reserve, update=digest(update)))

    def updated(self, request: TrainRequest, arrays: Arrays) -> Update:
        """Charge, release and return an update, as a client that keeps its books would."""
        self.release(request, arrays, reserve=self.reserve(request))
        return self.reply(request, arrays)

    def reply(self, request: TrainRequest, arrays: Arrays) -> Update:
        """Return an update with the entries that the server lacks, whatever they are."""
        return Update(
            partition_id=self.partition_id,
            num_examples=self.num_examples,
            arrays=arrays,
            ledger_lines=tuple(self.lines[request.known_entries :]),
        )

    def update(self, like: Arrays) -> Arrays:
        """Return this client's update."""
        return {name: np.full_like(array, self.value) for name, array in like.items()}

    def answer(self, message: Message) -> Answer:
        """Answer as an honest client would, unless it is told to change that."""
        if message.metadata.message_type == "query":
            asked = parse_describe_request(message)
            self.classes.append(asked.classes)
            self.notices += [asked.notice] if asked.notice else []
            self.keep(asked.deliveries)
            return Description(
                partition_id=self.partition_id,
                num_examples=self.num_examples,
                ledger_lines=tuple(self.lines[asked.known_entries :]),
                presence=self.presence(asked.run),
            )
        request = parse_train_request(message)
        self.keep(request.deliveries)
        self.asked.append(request.round)
        if self.change and (not self.change_in or request.round in self.change_in):
            return self.change(self, request, self.reply(request, self.update(request.arrays)))
        return self.updated(request, self.update(request.arrays))


class MadeUpGrid(Grid):
    """Delivers messages to made-up clients at once and hands replies out in an order of choice.

    Args:
        nodes: node number to client.
        backwards: whether the last reply arrives first.
        at_a_time: replies handed out by one pull.
    """

    def __init__(
        self, nodes: dict[int, MadeUpClient], *, backwards: bool = False, at_a_time: int = 100
    ) -> None:
        self._nodes = nodes
        self._backwards = backwards
        self._at_a_time = at_a_time
        self._replies: list[Message] = []
        self._count = 0

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Let every client answer."""
        return [self._push(message) for message in messages]

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Hand out some replies."""
        wanted = set(message_ids)
        due = [m for m in self._replies if m.metadata.reply_to_message_id in wanted]
        due = (due[::-1] if self._backwards else due)[: self._at_a_time]
        self._replies = [m for m in self._replies if m not in due]
        return due

    def get_node_ids(self) -> Iterable[int]:
        """Return all nodes, in no useful order."""
        return sorted(self._nodes, reverse=True)

    def _push(self, message: Message) -> str:
        self._count += 1
        message_id = f"message-{self._count}"
        message.metadata.__dict__["_message_id"] = message_id
        answer = self._nodes[message.metadata.dst_node_id].answer(message)
        if not isinstance(answer, Message | RecordDict):
            answer = reply_record(answer)
        reply = answer if isinstance(answer, Message) else Message(answer, reply_to=message)
        reply.metadata.__dict__["_reply_to_message_id"] = message_id
        self._replies.append(reply)
        return message_id

    def set_run(self, run: Any) -> None:
        """Do nothing: there is one run."""

    @property
    def run(self) -> Any:
        """There is none."""
        raise NotImplementedError

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        """Not needed: messages are made directly."""
        raise NotImplementedError

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> Any:
        """Not needed: messages are pushed and pulled."""
        raise NotImplementedError


class Watcher(RunObserver):
    """Remembers what it is told; asks to stop after the round `stop_after`."""

    def __init__(self, stop_after: int = 0) -> None:
        super().__init__()
        self.refused_to_join: list[str] = []
        self.nodes_turned_away: list[TurnedAway] = []
        self.outcomes: list[RoundOutcome] = []
        self.answers = 0
        self.ending, self.can_go_on = "", False
        self._stop_after = stop_after

    def turned_away(self, nodes: Sequence[TurnedAway]) -> None:
        """Keep the nodes that did not join."""
        self.nodes_turned_away += nodes

    def joined(self, state: RunState, refused: list[str]) -> None:
        """Keep who did not join."""
        self.refused_to_join = refused

    def client_answered(self) -> None:
        """Count answers."""
        self.answers += 1

    def round_finished(self, state: RunState, outcome: RoundOutcome) -> None:
        """Keep the outcome."""
        self.outcomes.append(outcome)

    def ended(self, state: RunState, *, can_go_on: bool) -> None:
        """Keep the reason."""
        self.ending, self.can_go_on = state.ended, can_go_on

    @property
    def stop_requested(self) -> bool:
        """Whether enough rounds were seen."""
        return bool(self._stop_after) and len(self.outcomes) >= self._stop_after


class NoEvaluator:
    """Stands for an evaluator: two classes, and an accuracy of one half whatever the model."""

    classes = ("cat", "dog")

    def evaluate(self, arrays: Arrays) -> Evaluation:
        """Return made-up figures."""
        return Evaluation(metrics={"accuracy": 0.5, "loss": 1.0}, details={"accuracy": 0.5})


def federation_settings(rounds: int, changes: dict[str, Any] | None = None) -> RunConfig:
    """Return settings of a run without server momentum."""
    fixed = {"federation.num-server-rounds": rounds, "federation.server-momentum": 0.0}
    return resolve(fixed, changes or {})


def coordinate(
    folder: RunFolder,
    clients: list[MadeUpClient],
    *,
    rounds: int = 1,
    watcher: Watcher | None = None,
    changes: dict[str, Any] | None = None,
    copies: LedgerCopies | None = None,
    **grid: Any,
) -> RunState:
    """Run the server's loop over made-up clients, the first at node 10."""
    nodes = {10 + index: client for index, client in enumerate(clients)}
    with ReceiptBook.open(folder) as book:
        return Coordinator(
            grid=MadeUpGrid(nodes, **grid),
            config=federation_settings(rounds, changes),
            folder=folder,
            evaluator=NoEvaluator(),  # type: ignore[arg-type]
            observer=watcher or Watcher(),
            book=book,
            copies=copies,
        ).run()
