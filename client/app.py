"""The Flower ClientApp: what a client answers, and what of its failures may be known outside."""

from __future__ import annotations

import logging

import torch
from flwr.app import Context, Message
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

from client.receipts import keep_receipts
from client.rounds import train_round
from client.site import open_site
from common.errors import ConfigError, DataError, FedLedgerError, WeightsError
from common.messages import parse_describe_request, parse_train_request, reply_record
from common.protocol import Description, Refusal, Reply

_log = logging.getLogger("fedledger.client")


def answer_failures(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Turn every failure into a typed reply, so that no exception's text crosses the wire by accident.

    Privacy: a deliberate error's text holds no data; of any other error only the type's name leaves. Of an
    unreadable image or a file of weights not even the name does.
    """
    torch.set_num_threads(1)  # one core a client, and the same sums whatever else runs
    try:
        return call_next(message, context)
    except DataError as error:
        _log.exception("a client's images cannot be used")
        code, reason = error.code, "its images cannot be used; its own log says more"
    except WeightsError as error:
        _log.exception("the weights of a backbone cannot be used")
        code, reason = error.code, "its weights cannot be used; its own log says more"
    except FedLedgerError as error:
        code, reason = error.code, str(error)
    except Exception as error:  # noqa: BLE001 - the boundary of the process: nothing else may leave
        _log.exception("a client failed")
        code, reason = "internal", f"the client failed ({type(error).__name__}); its own log says more"
    partition_id = context.node_config.get("partition-id")
    refusal = Refusal(
        partition_id=partition_id if isinstance(partition_id, int) else -1, code=code, reason=reason
    )
    return Message(reply_record(refusal), reply_to=message)


app = ClientApp(mods=[answer_failures])


@app.query()
def describe(message: Message, context: Context) -> Message:
    """Store receipts, and answer with public facts: the partition's number, n and the ledger."""
    request = parse_describe_request(message)
    site = open_site(context)
    if request.notice:
        _log.warning("the server does not take this client's answer: %s", request.notice)
    _refuse_other_classes(request.classes, site.records.classes)
    keep_receipts(site.ledger, request.deliveries)
    description = Description(
        partition_id=site.partition_id,
        num_examples=len(site.records),
        ledger_lines=() if request.notice else site.ledger.view.lines[request.known_entries :],
        presence=site.ledger.prove_presence(request.run),
    )
    return _reply(message, description)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Run one round: decide, reserve durably, train, record the release, answer."""
    request = parse_train_request(message)
    site = open_site(context)
    return _reply(message, train_round(site, request))


def _refuse_other_classes(theirs: tuple[str, ...], ours: tuple[str, ...]) -> None:
    """Refuse a model whose outputs mean something else here; labels are numbers, so nobody else would notice.

    Privacy: the client's own names do not leave.
    """
    if theirs and theirs != ours:
        _log.warning(
            "the server's classes are %s; the folders here are %s", ", ".join(theirs), ", ".join(ours)
        )
        raise ConfigError(
            f"its class folders are not named like the {len(theirs)} classes of the server's test images: "
            "name them alike at every site"
        )


def _reply(message: Message, reply: Reply) -> Message:
    return Message(reply_record(reply), reply_to=message)
