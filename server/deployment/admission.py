"""Who is let through the gateway: requests that an enrolled node signed a moment ago, and not too many."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from common.flower_internals.fleet import (
    CLOCK_SECONDS,
    PUBLIC_KEY_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    TIMESTAMP_SECONDS,
)
from server.deployment.limits import Allowance, Limits


class Denied(Exception):
    """A request that is answered with a status and one line, and goes no further.

    Args:
        status: of HTTP. Flower's nodes come back after 503, and end after 401.
        reason: for the peer.
        log: for whoever runs the server; empty where it is the same.
    """

    def __init__(self, status: int, reason: str, *, log: str = "") -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.log = log or reason


class Admission:
    """Checks each request's signature before a byte of its body is read, and counts what is under way.

    SuperLink checks the same again, but only after it has taken the whole body into memory.

    Args:
        admitted: the keys (PEM) that may connect, each with its client's name; asked at every request.
        limits: how many requests each may send.
        revoked: the keys that may connect no more, in the same form.
    """

    def __init__(
        self,
        admitted: Callable[[], Mapping[bytes, str]],
        limits: Limits,
        *,
        revoked: Callable[[], Mapping[bytes, str]] = dict,
    ) -> None:
        self._admitted = admitted
        self._revoked = revoked
        self._limits = limits
        self._under_way: Counter[str] = Counter()
        self._requests = Allowance(limits.requests_per_second, limits.burst)
        self._refusals = Allowance(limits.refusals_per_second, limits.refusals_per_second * 10)

    @contextmanager
    def admit(self, headers: Mapping[str, str], peer: str) -> Iterator[str]:
        """Let a request through for as long as the context lasts.

        Args:
            headers: lower-case names, each once.
            peer: the address that it came from.

        Yields:
            The client's name.

        Raises:
            Denied: 401 without a valid key, 503 beyond the limits.
        """
        try:
            name = self._who(headers)
        except Denied:
            if not self._refusals.take(peer):
                raise Denied(429, "too many requests without a valid key") from None
            raise
        if self._under_way[name] >= self._limits.requests_at_a_time or not self._requests.take(name):
            raise Denied(503, f"too many requests of {name} at a time: try again")
        self._under_way[name] += 1
        try:
            yield name
        finally:
            self._under_way[name] -= 1
            if not self._under_way[name]:
                del self._under_way[name]

    def _who(self, headers: Mapping[str, str]) -> str:
        if PUBLIC_KEY_HEADER not in headers:
            raise Denied(401, "a node key is needed: start the client with --key")
        key = _decoded(headers, PUBLIC_KEY_HEADER)
        name = self._admitted().get(key)
        if name is None:
            raise Denied(
                401,
                "this key is not enrolled here, or was revoked: ask the server's operator",
                log=_whose(key, self._revoked()),
            )
        timestamp = headers.get(TIMESTAMP_HEADER, "")
        _refuse_old(timestamp, name)
        _refuse_forged(key, timestamp, _decoded(headers, SIGNATURE_HEADER), name)
        return name


def _whose(key: bytes, revoked: Mapping[bytes, str]) -> str:
    """Say which key is refused, so that the operator can tell a new site from a stranger."""
    if (name := revoked.get(key)) is not None:
        return f"the key of {name} was revoked: the site needs a new one (`fedledger pki client`)"
    return f"key {_fingerprint(key)} is not enrolled: if it is a site's, `fedledger enroll` lets it in"


def _fingerprint(key: bytes) -> str:
    """Return a public key's fingerprint as `ssh-keygen -l` shows it."""
    form = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    try:
        public_key = serialization.load_pem_public_key(key)
        line = public_key.public_bytes(*form)
    except Exception:  # noqa: BLE001 - anybody may send anything as a key
        return "that cannot be read"
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"


def _decoded(headers: Mapping[str, str], name: str) -> bytes:
    try:
        return base64.b64decode(headers.get(name, ""), validate=True)
    except (binascii.Error, ValueError):
        raise Denied(401, f"the header {name} is not base64") from None


def _refuse_old(timestamp: str, name: str) -> None:
    try:
        age = (datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds()
    except (ValueError, TypeError):
        raise Denied(401, f"the request of {name} bears no time") from None
    if not -CLOCK_SECONDS < age < TIMESTAMP_SECONDS + CLOCK_SECONDS:
        raise Denied(
            401, f"the clock of {name} is {abs(age):.0f} s {'behind' if age > 0 else 'ahead'}: set it right"
        )


def _refuse_forged(key: bytes, timestamp: str, signature: bytes, name: str) -> None:
    public_key = serialization.load_pem_public_key(key)
    if not isinstance(public_key, ec.EllipticCurvePublicKey):
        raise Denied(401, f"the key of {name} is not on a curve")
    try:
        public_key.verify(signature, timestamp.encode("ascii", "replace"), ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        raise Denied(401, f"the request of {name} is not signed by its key") from None
