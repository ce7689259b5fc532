"""Receipts on their way to a client, under hostile bytes: what `common.messages` makes of them."""

from __future__ import annotations

from functools import cache

from flwr.app import ConfigRecord, Message
from flwr.supercore.task_identity import TaskIdentity

from benchmarks.fuzz.case import Case, Outcome, Violation, refused
from benchmarks.fuzz.histories import Scribe, digest
from common import canonical
from common.errors import MessageError
from common.messages import describe_request_record, parse_describe_request
from common.protocol import DescribeRequest
from common.wire import FIELDS


@cache
def true_deliveries() -> tuple[str, ...]:
    """Return receipts with checkpoint and proof, as a server sends them."""
    texts = []
    for index in range(4):
        scribe = Scribe(name=f"delivered {index}")
        for _ in range(index):
            scribe.enrol()
        receipt = scribe.receipt(scribe.release(1, scribe.reserve(1)), 1)
        held = scribe.log.append(receipt)
        proof = [step.hex() for step in scribe.log.tree.inclusion_proof(index)]
        value = {"receipt": receipt.to_json(), "checkpoint": held.to_json(), "proof": proof}
        texts.append(canonical.dumps(value).decode("ascii"))
    return tuple(texts)


def judge_delivery(case: Case) -> Outcome:
    """A delivery that is accepted is packed again as it came."""
    text = case.parts[0].decode("utf-8", "replace")
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    record = describe_request_record(DescribeRequest(run=digest("run")))
    record.config_records[FIELDS]["deliveries"] = [text]
    message = Message(record, dst_node_id=1, message_type="query")
    try:
        request = parse_describe_request(message)
    except MessageError as error:
        return refused(error, "MessageError")
    again = describe_request_record(request)[FIELDS]
    if not isinstance(again, ConfigRecord) or again["deliveries"] != [text]:
        raise Violation("round-trip", "a delivery is packed otherwise than it came")
    return Outcome(verdict="accepted", why="delivery", features=(min(len(request.deliveries[0].proof), 4),))
