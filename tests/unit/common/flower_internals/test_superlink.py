"""The names of SuperLink that are not public (pinned to flwr 1.41.x): which has changed?"""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from importlib.metadata import entry_points

import pytest

from common.flower_internals import superlink


def test_the_middleware_of_extensions_is_asked_for_and_stands_outermost():
    from flwr.superlink import extensions, main

    assert list(inspect.signature(extensions.get_middleware).parameters) == []
    source = inspect.getsource(main._get_middleware)
    assert source.index("extensions.get_middleware()") < source.index("ControlSensitiveResponseMiddleware")


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
    guard = superlink.SecretRequired(None, "right")
    headers = [] if secret is None else [(b"x-fedledger-control", secret.encode())]
    assert guard._may_pass({"type": "http", "path": path, "headers": headers}) is passes
