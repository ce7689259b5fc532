"""Stock SuperNodes and our own clients that must not get in: one clear line on each side."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from client.deployment.node import Node, NodeOptions
from server.deployment.pki import make_server_certificate
from server.deployment.superlink import free_port
from server.deployment.tls import TlsFiles
from tests.deployed_server import BIN, environment, wait_for
from tests.live_gateway import LiveGateway, heard, live_gateway

pytestmark = pytest.mark.xdist_group("second-deployment")

_NO_CA = "no TLS with 127.0.0.1: the two found no agreement (does it hold this server's CA"
_STRANGER = "refused 127.0.0.1: key SHA256:"
_LEAVER = "refused 127.0.0.1: the key of leaver was revoked"
_PLAIN = "no TLS with 127.0.0.1: it speaks plain HTTP, or no TLS at all"

CASES = {
    "wrong CA": ("certificate verify failed", "is not from the CA of --ca", _NO_CA),
    "expired": ("certificate has expired", "the server's certificate has expired", _NO_CA),
    "unenrolled": ("this key is not enrolled here", "the server refuses this key", _STRANGER),
    "revoked": ("this key is not enrolled here", "the server refuses this key", _LEAVER),
    "plain": (
        "this server speaks TLS",
        "the server speaks TLS: give --ca and --key instead of --insecure",
        _PLAIN,
    ),
}
"""What a stock SuperNode says, what our client says, and what the server's log says."""


class Site:
    """A node's key, the CA that it holds, and the gateway that it goes to."""

    def __init__(self, folder: Path, gateway: LiveGateway, authority: Path | None) -> None:
        folder.mkdir()
        self.folder = folder
        self.address = f"127.0.0.1:{gateway.port}"
        self.authority = authority
        self.key = folder / "node"
        private = ec.generate_private_key(ec.SECP384R1())
        none = serialization.NoEncryption()
        self.key.write_bytes(
            private.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, none)
        )
        form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.public = private.public_key().public_bytes(*form)


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    root = tmp_path_factory.mktemp("turned-away")
    old = TlsFiles.of_folder(make_server_certificate(root / "expired", ["127.0.0.1"], days=0).root)
    other = make_server_certificate(root / "other", ["127.0.0.1"]).authority
    with live_gateway(root) as gateway, live_gateway(root, files=old) as expired:
        made = {
            "wrong CA": Site(root / "wrong", gateway, other),
            "expired": Site(root / "late", expired, old.authority),
            "unenrolled": Site(root / "stranger", gateway, gateway.authority),
            "revoked": Site(root / "leaver", gateway, gateway.authority),
            "plain": Site(root / "plain", gateway, None),
        }
        gateway.revoked[made["revoked"].public] = "leaver"
        yield made


@pytest.mark.parametrize("case", CASES)
def test_a_stock_supernode_is_turned_away_with_a_line_on_both_sides(sites, case):
    site, (theirs, _, log) = sites[case], CASES[case]
    secured = ["--insecure"] if site.authority is None else ["--root-certificates", str(site.authority)]
    secured += [] if site.authority is None else ["--auth-supernode-private-key", str(site.key)]
    command = [BIN / "flower-supernode", "--superlink", site.address, *secured, "--host", "127.0.0.1"]
    said = site.folder / "stock.log"
    with heard() as lines, said.open("wb") as output:
        node = subprocess.Popen(
            [*command, "--port", str(free_port())],
            env=environment(site.folder / "home"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
        try:
            wait_for(lambda: theirs in said.read_text(errors="replace").replace("\n", " "), 60)
            wait_for(lambda: any(line.startswith(log) for line in lines), 10)
        finally:
            node.kill()
            node.wait()
    assert {line for line in lines if not line.startswith(log)} == set()


@pytest.mark.parametrize("case", CASES)
def test_our_own_client_is_turned_away_with_a_line_on_both_sides(sites, case, caplog):
    site, (_, ours, log) = sites[case], CASES[case]
    caplog.set_level(logging.INFO, "fedledger.node")
    key = site.key if site.authority else None
    options = NodeOptions(
        server=site.address, authority=site.authority, key=key, number=1, home=site.folder / "ours"
    )
    node = Node(options, lambda: None)
    with heard() as lines:
        node.start()
        try:
            wait_for(lambda: any("not connected: " in text for text in caplog.messages), 60)
            wait_for(lambda: any(line.startswith(log) for line in lines), 10)
        finally:
            node.stop()
    (first, *_) = [text for text in caplog.messages if "not connected: " in text]
    assert ours in first
    assert "\n" not in first
