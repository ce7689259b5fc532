"""What nodes ask of SuperLink, and how they prove who they are."""

from __future__ import annotations

FLEET_PATHS = frozenset(
    f"/v1/fleet/{name}"
    for name in (
        "activate-node",
        "deactivate-node",
        "send-node-heartbeat",
        "pull-messages",
        "push-messages",
        "get-run",
        "get-fab",
        "push-object",
        "pull-object",
        "confirm-message-received",
    )
)
"""What an enrolled node asks of SuperLink. Flower's two others, register-node and unregister-node, it refuses
itself while authentication is on."""

PUBLIC_KEY_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER = "flwr-public-key", "flwr-timestamp", "flwr-signature"
"""By these headers of each request a node proves who it is: base64 of its key in PEM, the time in ISO 8601,
base64 of an ECDSA signature with SHA-256 over the latter."""

TIMESTAMP_SECONDS, CLOCK_SECONDS = 300, 5
"""How old a signed timestamp may be, and how far ahead (or behind that) a clock may go."""

MISSED_HEARTBEATS = 2
"""So many intervals after its last heartbeat a node counts as offline."""

KEY_UNKNOWN = 2004
"""The code by which SuperLink refuses a node's activation; SuperNode shows the text that comes with it."""
