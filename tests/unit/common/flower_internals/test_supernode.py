"""The names of Flower that are not public, on a client (pinned to flwr 1.41.x): which has changed?"""

from __future__ import annotations

import inspect
import re
import threading
from importlib import import_module
from importlib.metadata import entry_points, version
from types import SimpleNamespace

import httpx
import pytest

from common.flower_internals import supernode as internals
from common.flower_internals import supernode_process
from common.flower_internals.node_output import BROKEN_OFF, MESSAGE_SIGNS

FUNCTIONS = {
    "pull_task_input": ["client"],
    "push_message": ["client", "message", "context"],
    "push_task_output": ["client", "context", "sub_status", "details"],
    "RuntimeTokenHttpInterceptor": ["token"],
    "SuperExecAuthHttpInterceptor": ["master_secret", "protected_methods"],
}
CALLS = {
    "AcquireTask": "/v1/runtime/acquire-task",
    "SendTaskHeartbeat": "/v1/runtime/send-task-heartbeat",
    "PullTaskInput": "/v1/runtime/pull-task-input",
    "PushTaskOutput": "/v1/runtime/push-task-output",
    "PullMessages": "/v1/runtime/pull-messages",
    "PushMessages": "/v1/runtime/push-messages",
}


def test_it_is_the_flower_that_this_was_written_for():
    assert version("flwr").startswith("1.41.")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_each_name_is_there_and_takes_what_it_took(name):
    assert list(inspect.signature(getattr(internals, name)).parameters) == FUNCTIONS[name]


@pytest.mark.parametrize("name", CALLS)
def test_the_local_api_can_be_asked_what_it_could(name):
    assert CALLS[name] in inspect.getsource(getattr(internals.RuntimeHttpClient, name))


def test_a_client_of_the_local_api_is_made_as_it_was():
    parameters = inspect.signature(internals.RuntimeHttpClient.from_server_address).parameters
    assert {"server_address", "insecure", "root_certificates", "interceptors"} <= set(parameters)
    assert parameters["retry_invoker"].default is None  # Flower's own would interrupt this process


def test_all_kinds_of_tasks_can_be_taken():
    assert internals.TaskType.CLIENT_APP in set(internals.TaskType)
    request = internals.AcquireTaskRequest(supported_task_types=list(internals.TaskType))
    assert len(request.supported_task_types) == len(internals.TaskType)


def test_the_call_that_takes_a_task_is_the_one_that_the_secret_guards():
    from flwr.supercore.superexec import run_superexec

    assert run_superexec._SUPEREXEC_AUTH_METHODS == internals.TAKES_TASKS


def test_a_task_ends_by_the_word_that_flower_uses():
    from flwr.common.constant import SubStatus

    assert SubStatus.COMPLETED == "completed"


def test_supernode_is_a_command_and_takes_our_options():
    (command,) = entry_points(group="console_scripts", name=internals.SUPERNODE_COMMAND)
    module = inspect.getmodule(command.load())
    parser = module._parse_args_run_supernode()
    options = "--superlink a:1 --isolation process --superexec-auth-secret-file s --host h --port 1"
    more = "--root-certificates c --auth-supernode-private-key k --node-config partition-id=1"
    parsed = parser.parse_args([*options.split(), *more.split()])
    assert (parsed.isolation, parsed.superexec_auth_secret_file) == ("process", "s")


def test_supernode_waits_where_and_for_as_long_as_it_did():
    """And of the module `time`, whose place another takes, it uses nothing else."""
    loop = import_module(supernode_process.LOOP)
    assert inspect.ismodule(loop.time)
    assert re.findall(r"time\.sleep\(\d+\)", inspect.getsource(loop.start_client_internal)) == [
        "time.sleep(3)"
    ]
    assert "time.sleep(0.5)" in inspect.getsource(loop._push_messages)
    assert set(re.findall(r"\btime\.(\w+)", inspect.getsource(loop))) == {"sleep"}


@pytest.fixture
def slept(monkeypatch):
    waits: list[float] = []
    clock = SimpleNamespace(now=100.0)

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        clock.now += seconds

    monkeypatch.setattr(supernode_process.time, "sleep", sleep)
    monkeypatch.setattr(supernode_process.time, "monotonic", lambda: clock.now)
    return waits


def test_between_messages_that_follow_each_other_it_waits_for_less_and_then_as_before(slept):
    clock = supernode_process.LivelyClock()
    clock.sleep(3)
    clock.sleep(0.5)
    for _ in range(17):
        clock.sleep(3)
    assert slept == [3, 0.1, *[1.0] * 15, 3, 3]


def test_a_long_training_is_looked_at_as_seldom_as_before(slept):
    clock = supernode_process.LivelyClock()
    for _ in range(52):
        clock.sleep(0.5)
    clock.sleep(3)
    clock.sleep(0.5)
    assert slept == [*[0.1] * 50, 0.5, 0.5, 1.0, 0.1]
    assert clock.monotonic() > 100


def test_supernode_says_on_standard_output_that_a_message_comes():
    from flwr.supernode import start_client_internal as loop

    source = inspect.getsource(loop._pull_and_store_message)
    places = [source.index(f'"{sign}') for sign in MESSAGE_SIGNS]
    assert places == sorted(places)
    assert source.index("state.create_task(") < places[1]


def test_a_message_that_was_not_fetched_to_its_end_is_told_of():
    from flwr.supercore.run import RunNotRunningException
    from flwr.supernode import start_client_internal as loop

    source = inspect.getsource(loop._pull_and_store_message)
    stored = source.index("state.store_message(message)")
    for sign in BROKEN_OFF:
        assert stored < source.index(sign.strip())
    assert source.count("Ignoring message") == 1
    # hence the task of such a message is never closed:
    assert not issubclass(RunNotRunningException, Exception)


def test_under_isolation_supernode_starts_no_program():
    from flwr.supernode import start_client_internal as loop

    source = inspect.getsource(loop)
    assert source.count("subprocess.Popen(") == 1
    start = source.index("subprocess.Popen(")
    assert "if isolation == ISOLATION_MODE_SUBPROCESS:" in source[start - 1200 : start]


def test_a_server_that_is_away_is_asked_again_by_each_thread_for_itself_and_soon(monkeypatch):
    module = import_module(supernode_process.CONNECTION)
    make = supernode_process.soon_again(getattr(module, supernode_process.RETRIES))
    invoker, together, paused = make(), threading.Barrier(4, timeout=20), []

    def sleep(seconds):
        paused.append(seconds)
        together.wait()  # breaks unless all four pause at the same time

    monkeypatch.setattr(supernode_process, "time", SimpleNamespace(sleep=sleep))
    threads = [
        threading.Thread(target=invoker.invoke, args=(_away(12),)) for _ in range(4)
    ]  # 36 waits of up to 6 seconds
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not together.broken
    assert len(paused) == 4 * 12
    assert 4.0 < max(paused) <= 6.0


def _away(times: int):
    """Return a call that fails so often as if its server were away."""
    left = [times]

    def call():
        left[0] -= 1
        if left[0] >= 0:
            raise httpx.ConnectError("refused")

    return call
