"""The names of Flower that are not public and that the server uses: which of them has changed?"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from importlib.metadata import entry_points, version

import pytest

from common import flower_internals_server as internals

NAMES = {
    "flwr.cli.build": {"build_fab_from_disk": ["app"]},
    "flwr.common.serde": {"fab_to_proto": ["fab"], "user_config_to_proto": ["user_config"]},
    "flwr.supercore.fab": {"Fab": ["hash_str", "content", "verifications"]},
    "flwr.superlink.extensions": {"get_middleware": []},
    "flwr.supercore.control": {"ControlHttpClient": None},
    "flwr.supercore.error": {"FlowerError": None},
    "flwr.proto.control_pb2": dict.fromkeys(
        [
            "ListNodesRequest",
            "RegisterNodeRequest",
            "UnregisterNodeRequest",
            "StartRunRequest",
            "StopRunRequest",
            "ListRunsRequest",
        ]
    ),
}


def test_it_is_the_flower_that_this_was_written_for():
    assert version("flwr").startswith("1.41.")


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in NAMES.items() for n in names])
def test_each_name_is_there_and_takes_what_it_took(module, name):
    found = getattr(import_module(module), name)
    expected = NAMES[module][name]
    if expected is not None:
        assert list(inspect.signature(found).parameters) == expected


@pytest.mark.parametrize(
    "method", ["ListNodes", "RegisterNode", "UnregisterNode", "StartRun", "StopRun", "ListRuns", "close"]
)
def test_the_client_of_the_control_api_can_do_what_it_could(method):
    from flwr.supercore.control import ControlHttpClient

    assert callable(getattr(ControlHttpClient, method))
    parameters = inspect.signature(ControlHttpClient.from_server_address).parameters
    assert {"server_address", "insecure", "root_certificates", "interceptors"} <= set(parameters)


def test_the_middleware_of_extensions_is_asked_for_and_stands_outermost():
    from flwr.superlink import main

    source = inspect.getsource(main._get_middleware)
    assert source.index("extensions.get_middleware()") < source.index("ControlSensitiveResponseMiddleware")


def test_headers_and_times_of_a_nodes_signature_are_the_same():
    from flwr.common import constant
    from flwr.supercore import constant as core
    from flwr.supercore.error import ApiErrorCode

    assert core.FLEET_HTTP_PUBLIC_KEY_HEADER == internals.PUBLIC_KEY_HEADER
    assert core.FLEET_HTTP_SIGNATURE_HEADER == internals.SIGNATURE_HEADER
    assert constant.TIMESTAMP_HEADER == internals.TIMESTAMP_HEADER
    assert constant.TIMESTAMP_TOLERANCE == internals.TIMESTAMP_SECONDS
    assert constant.SYSTEM_TIME_TOLERANCE == internals.CLOCK_SECONDS
    assert constant.HEARTBEAT_PATIENCE == internals.MISSED_HEARTBEATS
    assert ApiErrorCode.FLEET_NODE_ACTIVATION_FAILED == internals.KEY_UNKNOWN


def test_the_paths_of_nodes_are_flowers_less_the_two_that_it_refuses_itself():
    from flwr.supercore.protobuf.translation import PROTOBUF_REQUEST_TYPES

    fleet = {path for _, path in PROTOBUF_REQUEST_TYPES if path.startswith("/v1/fleet/")}
    assert fleet - internals.FLEET_PATHS == {"/v1/fleet/register-node", "/v1/fleet/unregister-node"}
    assert fleet >= internals.FLEET_PATHS


def test_no_object_of_a_message_is_larger_than_the_gateway_takes():
    from flwr.app.message import array
    from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE

    from server.deployment.exchange import MEDIA
    from server.deployment.limits import Limits

    assert Limits().body_bytes > 2 * array.FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE
    assert MEDIA == PROTOBUF_MEDIA_TYPE


@pytest.mark.parametrize("script", ["flower-superlink", "flower-superexec", "flwr-serverapp"])
def test_the_commands_are_there(script):
    assert len(list(entry_points(group="console_scripts", name=script))) == 1


SUPERLINK_OPTIONS = """--host --port --database --ssl-ca-certfile --ssl-certfile --ssl-keyfile --isolation
--superexec-auth-secret-file --enable-supernode-auth --disable-runtime-dependency-installation"""
SUPEREXEC_OPTIONS = "--runtime-api-address --root-certificates --superexec-auth-secret-file --parent-pid"


@pytest.mark.parametrize(
    ("module", "parser", "options"),
    [
        ("flwr.superlink.cli.flower_superlink", "_parse_args_run_superlink", SUPERLINK_OPTIONS),
        ("flwr.supercore.cli.flower_superexec", "_parse_args", SUPEREXEC_OPTIONS),
    ],
)
def test_the_options_of_superlink_and_superexec_are_there(module, parser, options):
    import_module(module.rpartition(".")[0])
    known = getattr(sys.modules[module], parser)().format_help()
    assert [option for option in options.split() if option not in known] == []


def test_a_bundle_is_built_the_same_twice():
    assert internals.build_bundle() == internals.build_bundle()


@pytest.mark.parametrize(
    ("path", "secret", "passes"),
    [
        ("/v1/control/list-runs", None, False),
        ("/v1/control/list-runs", "wrong", False),
        ("/v1/control/list-runs", "right", True),
        ("/docs", None, False),
        ("/openapi.json", None, False),
        ("/v1/fleet/../control/list-runs", "wrong", True),
        ("/v1/fleet/pull-messages", None, True),
        ("/v1/runtime/acquire-task", None, True),
        ("/health", None, True),
        ("/v1/new-in-flower", None, False),
    ],
)
def test_on_loopback_the_secret_opens_what_proves_nobody(path, secret, passes):
    guard = internals.SecretRequired(None, "right")
    headers = [] if secret is None else [(b"x-fedledger-control", secret.encode())]
    assert guard._may_pass({"type": "http", "path": path, "headers": headers}) is passes
