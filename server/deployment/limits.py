"""What one client, one address and all together may ask of the gateway."""

from __future__ import annotations

import time
from dataclasses import dataclass

MIB = 2**20

LOG_LINES = (0.5, 30)
"""Lines of the log that one address may cause: so many a second, and at once. The metrics count all."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The gateway's limits.

    Flower sends a model of any size in objects of at most 5 MiB, one a request, two at a time; so of these
    only `reply_bytes` limits the size of a model.

    Args:
        body_bytes: largest body of a request.
        reply_bytes: largest sum of the objects of one reply; no model of ours comes near.
        connections: open connections in all.
        connections_of_one_address: open connections of one address; many sites may share one.
        requests_at_a_time: requests of one enrolled key that may be under way.
        requests_per_second: requests of one enrolled key a second, on average.
        burst: requests that may come at once before the average counts.
        refusals_per_second: requests without a valid key that one address may send a second.
        head_seconds: time for TLS's handshake, and for a request's head.
        stall_seconds: longest pause within a body, in either direction.
        slowest_bytes_per_second: average that a body must keep up after `stall_seconds`.
        upstream_seconds: time for SuperLink to begin its answer.
        idle_seconds: time that a connection may be idle between requests.
    """

    body_bytes: int = 64 * MIB
    reply_bytes: int = 512 * MIB
    connections: int = 2048
    connections_of_one_address: int = 512
    requests_at_a_time: int = 16
    requests_per_second: float = 200.0
    burst: int = 2000
    refusals_per_second: float = 10.0
    head_seconds: float = 10.0
    stall_seconds: float = 30.0
    slowest_bytes_per_second: float = 2048.0
    upstream_seconds: float = 120.0
    idle_seconds: float = 75.0


class Allowance:
    """So many uses a second for each of many users, with some saved up (a token bucket each).

    Args:
        per_second: uses that a user earns a second.
        burst: uses that a user can save up.
    """

    _MOST_USERS = 10_000

    def __init__(self, per_second: float, burst: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left: dict[str, tuple[float, float]] = {}

    def take(self, user: str) -> bool:
        """Return whether the user may, and count it if so."""
        now = time.monotonic()
        if len(self._left) >= self._MOST_USERS:
            self._forget(now)
        left, since = self._left.get(user, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._per_second)
        permitted = left >= 1
        self._left[user] = (left - permitted, now)
        return permitted

    def _forget(self, now: float) -> None:
        """Drop users whose allowance is whole again, which is as if they had never come."""
        whole = self._burst / self._per_second
        self._left = {user: entry for user, entry in self._left.items() if now - entry[1] < whole}
