"""The gateway from outside: what passes, what does not, and that refusals leave the others served."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time

import httpx
import pytest

from common.flower_internals.fleet import FLEET_PATHS
from common.flower_internals.fleet_guard import MISDEEDS
from server.deployment.limits import Limits
from tests.live_gateway import (
    LiveGateway,
    MadeUpSuperLink,
    NodeKey,
    detail,
    heard,
    live_gateway,
    pieces,
    read_all,
    request,
)

PULL, PUSH = "/v1/fleet/pull-messages", "/v1/fleet/push-object"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with live_gateway(tmp_path_factory.mktemp("gateway")) as live:
        yield live


@pytest.fixture(scope="module")
def key(gateway) -> NodeKey:
    node = NodeKey()
    gateway.admitted[node.public] = "site-a"
    return node


@pytest.fixture(autouse=True)
def fresh(request):
    if "gateway" in request.fixturenames:
        request.getfixturevalue("gateway").superlink.seen.clear()


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    return int(answer[9:12])


def served(gateway: LiveGateway, key: NodeKey) -> bool:
    with gateway.client() as client:
        return client.post(PULL, content=b"abc", headers=key.headers()).content == b"cba"


@pytest.mark.parametrize("path", sorted(FLEET_PATHS))
def test_an_enrolled_key_reaches_every_path_of_nodes(gateway, key, path):
    with gateway.client() as client:
        answer = client.post(path, content=b"body", headers=key.headers())
    assert (answer.status_code, answer.content) == (200, b"ydob")
    assert gateway.superlink.seen[-1][:2] == ("POST", path)


@pytest.mark.parametrize("path", sorted(FLEET_PATHS))
def test_without_a_key_none_does(gateway, path):
    with gateway.client() as client:
        answer = client.post(path, content=b"body", headers={"content-type": "application/protobuf"})
    assert answer.status_code == (412 if path == "/v1/fleet/activate-node" else 401)
    assert "a node key is needed" in answer.json()["detail"]
    assert gateway.superlink.seen == []


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/docs",
        "/openapi.json",
        "/metrics",
        "/v1/control/list-runs",
        "/v1/runtime/acquire-task",
        "/v1/fleet",
        "/v1/fleet/",
        "/v1/fleet/register-node",
        "/v1/fleet/unregister-node",
        "/v1/fleet/pull-messages/",
        "/v1/fleet/pull-messages?x=1",
        "/v1/fleet/pull-messages#x",
        "/v1/fleet/pull-messages;x",
        "/v1/fleet//pull-messages",
        "//v1/fleet/pull-messages",
        "/v1/fleet/../fleet/pull-messages",
        "/v1/fleet/../control/list-runs",
        "/v1/fleet/..%2fcontrol/list-runs",
        "/v1/fleet/%2e%2e/control/list-runs",
        "/v1/fleet/pull%2Dmessages",
        "/v1%2ffleet/pull-messages",
        "/V1/FLEET/PULL-MESSAGES",
        "\\v1\\fleet\\pull-messages",
        "http://127.0.0.1/v1/fleet/pull-messages",
        "https://127.0.0.1/v1/control/list-runs",
        "*",
        "127.0.0.1:443",
        "/health/",
        "/health?x",
        "/v1/fleet/pull-messages%00",
    ],
)
@pytest.mark.parametrize("method", ["POST", "GET", "CONNECT"])
def test_no_spelling_of_a_path_gets_past(gateway, key, target, method):
    answer = gateway.say(request(target, key.headers(), method=method))
    assert status(answer) in (400, 404)
    assert gateway.superlink.seen == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE", "post"])
def test_no_other_method_is_served(gateway, key, method):
    assert status(gateway.say(request(PULL, key.headers(), method=method))) in (400, 405)
    assert gateway.superlink.seen == []


def test_health_is_plain_and_says_nothing_else(gateway):
    with gateway.client() as client:
        answer = client.get("/health")
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
        assert set(answer.headers) == {"content-type", "content-length"}
        assert client.head("/health").content == b""
        gateway.metrics.superlink_up = 0
        assert client.get("/health").status_code == 503
        gateway.metrics.superlink_up = 1
        assert client.post("/health").status_code == 404


def test_hop_by_hop_and_foreign_headers_go_no_further(gateway, key):
    extra = {
        "x-forwarded-for": "1.2.3.4",
        "x-fedledger-control": "guess",
        "authorization": "Bearer x",
        "cookie": "a=b",
        "te": "trailers",
        "keep-alive": "timeout=5",
        "proxy-authorization": "x",
        "upgrade": "websocket",
    }
    gateway.superlink.answer, before = (
        lambda _request, _body: httpx.Response(
            200,
            content=b"ok",
            headers={
                "content-type": "application/protobuf",
                "server": "x",
                "set-cookie": "a",
                "flwr-version": "1",
            },
        ),
        gateway.superlink.answer,
    )
    with gateway.client() as client:
        answer = client.post(PULL, headers=key.headers() | extra)
    gateway.superlink.answer = before
    passed = set(gateway.superlink.seen[-1][2])
    assert not passed & set(extra) - {"upgrade"}
    assert "upgrade" not in passed
    assert {"flwr-public-key", "flwr-timestamp", "flwr-signature", "content-type"} <= passed
    assert set(answer.headers) == {"content-type", "content-length", "flwr-version"}


@pytest.mark.parametrize("name", ["flwr-public-key", "flwr-signature", "flwr-timestamp", "content-type"])
def test_a_header_that_matters_may_not_stand_there_twice(gateway, key, name):
    twice = request(PULL, key.headers()).replace(b"\r\n\r\n", f"\r\n{name}: x\r\n\r\n".encode())
    answer = gateway.say(twice)
    assert status(answer) == 400
    assert "twice" in detail(answer)
    assert gateway.superlink.seen == []


def test_smuggling_two_lengths_or_a_length_and_chunks_is_not_understood(gateway, key):
    head = request(PULL, key.headers())
    for more in (b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n"):
        crafted = head.replace(b"Host:", more + b"Host:").replace(
            b"Content-Length: 0\r\n", b"Content-Length: 44\r\n"
        )
        answer = gateway.say(crafted + b"0\r\n\r\nPOST /v1/control/list-runs HTTP/1.1\r\nHost: x\r\n\r\n")
        assert answer.count(b"HTTP/1.1 200") <= 1
        assert all(path == PULL for _, path, _, _ in gateway.superlink.seen)


def test_another_form_of_body_is_refused_before_it_is_read(gateway, key):
    with gateway.client() as client:
        for headers in ({"content-type": "application/json"}, {"content-encoding": "gzip"}):
            assert client.post(PULL, content=b"x", headers=key.headers() | headers).status_code == 415
    assert gateway.superlink.seen == []


def test_a_body_of_many_megabytes_streams_both_ways(gateway, key):
    body = bytes(range(256)) * 4 * 2**12 * 5
    with gateway.client() as client:
        answer = client.post(PUSH, content=body, headers=key.headers())
        assert answer.content == body[::-1]
        chunked = client.post(PUSH, content=iter([b"ab", b"cd"]), headers=key.headers())
        assert chunked.content == b"dcba"


def test_an_answer_without_a_length_comes_as_it_is_made(gateway, key):
    gateway.superlink.answer, before = (
        lambda _request, _body: httpx.Response(200, content=pieces(b"one", b"two")),
        gateway.superlink.answer,
    )
    with gateway.client() as client:
        assert client.post(PULL, headers=key.headers()).content == b"onetwo"
    gateway.superlink.answer = before


def test_a_superlink_that_starts_again_is_worth_another_try(gateway, key):
    gateway.superlink.broken = True
    with gateway.client() as client:
        answer = client.post(PULL, content=b"x", headers=key.headers())
    gateway.superlink.broken = False
    assert answer.status_code == 503
    assert served(gateway, key)


def test_plain_http_gets_one_clear_line_and_leaves_one(gateway):
    with heard() as lines, socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = read_all(plain)
        wait_for(lambda: lines)
    assert status(answer) == 400
    assert "speaks TLS" in detail(answer)
    assert lines == ["no TLS with 127.0.0.1: it speaks plain HTTP, or no TLS at all"]


def test_a_client_with_another_ca_refuses_and_leaves_one_line(gateway, tmp_path):
    with heard() as lines:
        with pytest.raises(httpx.ConnectError, match="unable to get local issuer|self-signed"):
            httpx.get(f"{gateway.url}/health", trust_env=False)
        wait_for(lambda: lines)
    assert len(lines) == 1
    assert "does it hold this server's CA" in lines[0]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_tls_is_refused(gateway, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    with (
        socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as plain,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(plain)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_new_tls_is_served(gateway, version):
    context = ssl.create_default_context(cafile=str(gateway.authority))
    context.minimum_version = context.maximum_version = version
    with gateway.client(verify=context) as client:
        assert client.get("/health").status_code == 200


def wait_for(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)


SMALL = Limits(
    body_bytes=100_000,
    connections=40,
    connections_of_one_address=30,
    requests_at_a_time=2,
    requests_per_second=1000,
    head_seconds=0.6,
    stall_seconds=0.6,
    slowest_bytes_per_second=10_000,
    refusals_per_second=1.0,
)


@pytest.fixture
def narrow(tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "narrow"
    folder.mkdir(exist_ok=True)
    with live_gateway(folder, limits=SMALL) as live:
        node = NodeKey()
        live.admitted[node.public] = "site-a"
        yield live, node


@pytest.mark.parametrize("chunked", [False, True])
def test_an_oversized_body_is_refused_and_the_others_are_served(narrow, chunked):
    live, node = narrow
    body = b"x" * 150_000
    with live.client() as client:
        answer = client.post(PUSH, content=iter([body]) if chunked else body, headers=node.headers())
    assert answer.status_code == 413
    assert "larger than 100000 bytes" in answer.json()["detail"]
    assert all(size <= SMALL.body_bytes for *_, size in live.superlink.seen)
    assert served(live, node)


def test_a_body_that_announces_itself_too_large_is_refused_before_it_comes(narrow):
    live, node = narrow
    head = request(PUSH, node.headers()).replace(b"Content-Length: 0", b"Content-Length: 99999999999")
    with live.connect() as connection:
        connection.sendall(head)
        assert status(read_all(connection)) == 413
    assert live.superlink.seen == []


@pytest.mark.parametrize("path", ["/openapi.json", PUSH])
def test_a_body_without_end_to_a_refusal_does_not_hold_the_connection(narrow, path):
    live, node = narrow
    head = request(path, {**node.headers(), "flwr-signature": "AAAA"})
    head = head.replace(b"Content-Length: 0", b"Content-Length: 99999")
    with live.connect() as connection:
        connection.sendall(head)
        assert status(read_all(connection)) in (401, 404)
    assert served(live, node)


@pytest.mark.parametrize("part", [b"", b"POST /v1/fleet/pull-mess", b"POST / HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_never_ends_is_cut_off_and_the_others_are_served(narrow, part):
    live, node = narrow
    with live.connect() as slow:
        if part:
            slow.sendall(part)
        assert served(live, node)
        assert read_all(slow) == b""
    assert served(live, node)


def test_a_drop_now_and_then_does_not_keep_a_head_alive(narrow):
    live, _ = narrow
    started = time.monotonic()
    with live.connect() as slow:
        slow.settimeout(0.1)
        for letter in b"POST /v1/fleet/pull-messages HTTP/1.1\r\nX: " + b"x" * 60:
            if not is_open(slow, letter):
                break
        else:
            pytest.fail("it was left open")
    assert time.monotonic() - started < 5


def is_open(connection: ssl.SSLSocket, letter: int) -> bool:
    """Send a letter, and wait a moment for the other side to close."""
    try:
        connection.sendall(bytes([letter]))
        return connection.recv(1) != b""
    except TimeoutError:
        return True
    except OSError:
        return False


def test_a_body_that_stops_or_crawls_is_refused(narrow):
    live, node = narrow
    head = request(PUSH, node.headers()).replace(b"Content-Length: 0", b"Content-Length: 50000")
    with live.connect() as stopped:
        stopped.sendall(head + b"x" * 10)
        answer = read_all(stopped)
    assert (status(answer), detail(answer)) == (408, "the body stopped coming")
    with live.connect() as crawling:
        crawling.sendall(head)
        for _ in range(8):
            crawling.sendall(b"x" * 20)
            time.sleep(0.15)
        answer = read_all(crawling)
    assert (status(answer), detail(answer)) == (408, "the body comes too slowly")
    assert served(live, node)


def test_a_peer_that_takes_no_answer_is_dropped(narrow):
    live, node = narrow
    live.superlink.answer = lambda _request, _body: httpx.Response(
        200, content=pieces(*[b"x" * 100_000] * 400)
    )
    with heard() as lines, live.connect() as deaf:
        deaf.sendall(request(PULL, node.headers()))
        wait_for(lambda: "127.0.0.1 took no more of its answer" in lines)
        assert len(read_all(deaf)) < 40_000_000
    assert live.metrics.requests[PULL, 408] == 1
    live.superlink.answer = lambda _request, body: httpx.Response(200, content=body[::-1])
    assert served(live, node)


def test_connections_beyond_the_limit_are_closed_and_make_room_again(narrow):
    live, node = narrow
    silent = [
        socket.create_connection(("127.0.0.1", live.port)) for _ in range(SMALL.connections_of_one_address)
    ]
    wait_for(lambda: live.metrics.connections == SMALL.connections_of_one_address)
    with socket.create_connection(("127.0.0.1", live.port), timeout=10) as refused:
        assert read_all(refused) == b""
    assert live.metrics.connections_refused >= 1
    wait_for(lambda: live.metrics.connections == 0)  # none of them began TLS in time
    assert served(live, node)
    for each in silent:
        each.close()


def test_one_client_has_so_many_requests_under_way_and_another_is_served(narrow):
    live, node = narrow
    other = NodeKey()
    live.admitted[other.public] = "site-b"
    release = threading.Event()
    slow = request(PUSH, node.headers()).replace(b"Content-Length: 0", b"Content-Length: 3")
    with live.connect() as first, live.connect() as second:
        for connection in (first, second):
            connection.sendall(slow)
        time.sleep(0.2)
        answer = live.say(request(PULL, node.headers()))
        assert status(answer) == 503
        assert "at a time" in detail(answer)
        assert served(live, other)
        for connection in (first, second):
            connection.sendall(b"abc")
            assert status(read_all(connection)) == 200
    release.set()
    assert served(live, node)


def test_who_keeps_knocking_without_a_key_is_told_less_and_less(narrow):
    live, node = narrow
    with live.client() as client:
        codes = [client.post(PULL, headers={"content-type": "x"}).status_code for _ in range(15)]
    assert codes[0] == 401
    assert codes[-1] == 429
    assert served(live, node)


def test_what_is_counted_says_what_happened(narrow):
    live, node = narrow
    assert served(live, node)
    live.say(request("/openapi.json", {}))
    text = live.metrics.text()
    assert 'fedledger_requests_total{route="/v1/fleet/pull-messages",status="200"} 1' in text
    assert 'fedledger_requests_total{route="other",status="404"} 1' in text
    assert "fedledger_bytes_received_total 3" in text


def test_one_address_cannot_fill_the_log(narrow):
    live, node = narrow
    with heard() as lines, live.client() as client:
        for _ in range(60):
            client.get("/openapi.json")
    assert len(lines) < 40
    assert live.metrics.requests["other", 404] == 60
    assert served(live, node)


@pytest.mark.parametrize(("name", "done"), [("activate-node", "connected"), ("deactivate-node", "left")])
@pytest.mark.parametrize("agreed", [True, False])
def test_who_comes_and_who_leaves_stands_in_the_log(narrow, caplog, name, done, agreed):
    live, node = narrow
    live.superlink.answer = lambda *_: httpx.Response(200 if agreed else 409)
    with caplog.at_level(logging.INFO, "fedledger.gateway"), live.client() as client:
        client.post(f"/v1/fleet/{name}", content=b"x", headers=node.headers())
    assert caplog.messages == [f"site-a {done} (127.0.0.1)"] * agreed


@pytest.mark.parametrize(("answered", "said"), [*MISDEEDS.items()])
def test_what_superlink_refuses_an_enrolled_node_stands_in_the_log_by_name(narrow, answered, said):
    live, node = narrow  # a gateway of its own: what one address may log, other tests have not used up
    live.superlink.answer = lambda *_: httpx.Response(403, json={"detail": answered})
    with heard() as lines, live.client() as client:
        answer = client.post(PUSH, content=b"x", headers=node.headers())
    assert (answer.status_code, answer.json()["detail"]) == (403, f"site-a sent {said}")
    assert lines == [f"refused 127.0.0.1: site-a sent {said}"]


@pytest.mark.parametrize(
    "content", [b'{"code":2007,"detail":"x"}', b"[]", b"{", b'{"detail":[1]}', b"y" * 5000]
)
@pytest.mark.parametrize("status_code", [401, 403, 412])
def test_other_refusals_of_superlink_pass_as_they_are(gateway, key, content, status_code):
    gateway.superlink.answer = lambda *_: httpx.Response(status_code, content=content)
    try:
        with gateway.client() as client:
            answer = client.post(PULL, content=b"x", headers=key.headers())
    finally:
        gateway.superlink.answer = MadeUpSuperLink.answer
    assert (answer.status_code, answer.content) == (status_code, content)
