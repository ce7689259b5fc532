from __future__ import annotations

import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from common.errors import LedgerError
from common.ledger.keys import SigningKey, pre_authentication_encoding, verify


def test_pre_authentication_encoding_counts_bytes():
    # The example of the DSSE protocol: "DSSEv1" SP length SP type SP length SP body.
    assert pre_authentication_encoding(b"{}") == b"DSSEv1 36 application/vnd.fedledger.entry+json 2 {}"


def test_a_signature_holds_for_one_payload_and_one_key(key):
    signature = key.sign(b"payload")
    assert verify(key.public, b"payload", signature)
    assert not verify(key.public, b"payloae", signature)
    assert not verify(SigningKey.generate().public, b"payload", signature)
    assert not verify(key.public, b"payload", signature[:-1])
    assert not verify(b"short", b"payload", signature)


def test_a_saved_key_is_the_owner_s_only_and_loads_again(key, tmp_path):
    path = tmp_path / "keys" / "client-0.pem"
    key.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert SigningKey.load(path).public == key.public


def test_a_key_is_never_overwritten(key, tmp_path):
    path = tmp_path / "client-0.pem"
    key.save(path)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="exists already: a key is never overwritten"):
        SigningKey.generate().save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_temporary_name_left_by_a_crash_is_not_written_through(key, tmp_path):
    path = tmp_path / "client-0.pem"
    key.save(path)
    path.with_name(".client-0.pem.tmp").hardlink_to(path)
    with pytest.raises(LedgerError, match="exists already"):
        SigningKey.generate().save(path)
    assert SigningKey.load(path).public == key.public


def test_what_is_not_an_ed25519_key_is_refused_in_one_line(tmp_path):
    path = tmp_path / "client-0.pem"
    with pytest.raises(LedgerError, match="is missing"):
        SigningKey.load(path)
    path.write_text("no key")
    with pytest.raises(LedgerError, match="restore it from a backup"):
        SigningKey.load(path)
    other = X25519PrivateKey.generate()
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(LedgerError, match="not an Ed25519 key"):
        SigningKey.load(path)


def test_a_folder_that_cannot_be_written_is_said_in_one_line(key, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="cannot be written"):
        key.save(tmp_path / "file" / "client-0.pem")
