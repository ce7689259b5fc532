"""Every name of Flower that is not public, in this one place: for flwr 1.41 and no other.

A contract test holds each name and signature against the installed Flower, and says which has changed.
"""

from __future__ import annotations

# Client side: taking tasks from a SuperNode's local API, in the place of `flwr-clientapp`.
from flwr.proto.runtime_pb2 import AcquireTaskRequest, SendTaskHeartbeatRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.interceptors import RuntimeTokenHttpInterceptor, SuperExecAuthHttpInterceptor
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

TAKES_TASKS = frozenset({"/flwr.proto.Runtime/AcquireTask"})
"""The calls of a SuperNode's local API that its secret protects; all others need a task's own token."""

SUPERNODE_COMMAND = "flower-supernode"
"""The console script of flwr that runs a SuperNode."""

__all__ = [
    "SUPERNODE_COMMAND",
    "TAKES_TASKS",
    "AcquireTaskRequest",
    "RuntimeHttpClient",
    "RuntimeTokenHttpInterceptor",
    "SendTaskHeartbeatRequest",
    "SuperExecAuthHttpInterceptor",
    "TaskType",
    "pull_task_input",
    "push_message",
    "push_task_output",
]
