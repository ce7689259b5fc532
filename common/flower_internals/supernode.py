"""A SuperNode, and its local API: taking tasks in the place of `flwr-clientapp`."""

from __future__ import annotations

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
