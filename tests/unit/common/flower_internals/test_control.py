"""The Control API's names that are not public (pinned to flwr 1.41.x): which has changed?"""

from __future__ import annotations

import inspect
from importlib import import_module
from importlib.metadata import version

import pytest

from common.flower_internals.control import _node

NAMES = {
    "flwr.common.serde": {"fab_to_proto": ["fab"], "user_config_to_proto": ["user_config"]},
    "flwr.supercore.fab": {"Fab": ["hash_str", "content", "verifications"]},
    "flwr.supercore.control": {"ControlHttpClient": None},
    "flwr.supercore.error": {"FlowerError": None},
}
MESSAGES = {
    "ListNodesRequest": set(),
    "ListNodesResponse": {"nodes_info"},
    "RegisterNodeRequest": {"public_key", "name"},
    "RegisterNodeResponse": {"node_id"},
    "UnregisterNodeRequest": {"node_id"},
    "StartRunRequest": {"fab", "override_config", "federation"},
    "StartRunResponse": {"run_id"},
    "StopRunRequest": {"run_id"},
    "ListRunsRequest": {"run_id"},
    "ListRunsResponse": {"run_dict"},
}


def test_it_is_the_flower_that_this_was_written_for():
    assert version("flwr").startswith("1.41.")


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in NAMES.items() for n in names])
def test_each_name_is_there_and_takes_what_it_took(module, name):
    found = getattr(import_module(module), name)
    expected = NAMES[module][name]
    if expected is not None:
        assert list(inspect.signature(found).parameters) == expected


@pytest.mark.parametrize("name", MESSAGES)
def test_each_request_and_answer_has_its_fields(name):
    from flwr.proto import control_pb2

    fields = {field.name for field in getattr(control_pb2, name).DESCRIPTOR.fields}
    assert fields >= MESSAGES[name]


def test_nodes_and_runs_say_what_is_read_of_them():
    from flwr.proto.node_pb2 import NodeInfo
    from flwr.proto.run_pb2 import Run, RunStatus

    nodes = [
        "node_id",
        "name",
        "status",
        "public_key",
        "online_until",
        "heartbeat_interval",
    ]
    assert {field.name for field in NodeInfo.DESCRIPTOR.fields} >= set(nodes)
    assert {field.name for field in Run.DESCRIPTOR.fields} >= {"run_id", "status", "pending_at"}
    assert {field.name for field in RunStatus.DESCRIPTOR.fields} >= {"status", "sub_status", "details"}


@pytest.mark.parametrize(
    ("status", "until", "seen"),
    [
        ("online", 1060.0, 1000.0),
        ("offline", 1000.0, 1000.0),
        ("unregistered", 1000.0, 1000.0),
        ("registered", 0, None),
    ],
)
def test_a_node_was_seen_when_flower_heard_it_last(status, until, seen):
    from flwr.proto.node_pb2 import NodeInfo

    info = NodeInfo(node_id=1, status=status, online_until=until, heartbeat_interval=30)
    assert _node(info).last_seen == seen


@pytest.mark.parametrize(
    "method", ["ListNodes", "RegisterNode", "UnregisterNode", "StartRun", "StopRun", "ListRuns", "close"]
)
def test_the_client_of_the_control_api_can_do_what_it_could(method):
    from flwr.supercore.control import ControlHttpClient

    assert callable(getattr(ControlHttpClient, method))
    parameters = inspect.signature(ControlHttpClient.from_server_address).parameters
    assert {"server_address", "insecure", "root_certificates", "interceptors"} <= set(parameters)
