from __future__ import annotations

import shutil
import subprocess

import pytest

from common.errors import LedgerError
from common.ledger import SigningKey

SECRET = "correct horse é"


@pytest.fixture
def protected(key, tmp_path):
    path = tmp_path / "client.key"
    key.save(path, SECRET)
    return path


def test_a_protected_key_opens_with_its_passphrase_only(protected, key):
    assert SigningKey.load(protected, SECRET).public == key.public
    for wrong in ("correct horse e", SECRET + " ", "x"):
        with pytest.raises(LedgerError, match="does not open with this passphrase"):
            SigningKey.load(protected, wrong)
    for none in (None, ""):
        with pytest.raises(LedgerError, match=r"put it into \$FEDLEDGER_PASSPHRASE"):
            SigningKey.load(protected, none)


def test_the_private_bytes_are_not_in_the_file(key, protected, tmp_path):
    plain = tmp_path / "plain.key"
    key.save(plain)
    assert plain.read_text().splitlines()[1] not in protected.read_text()
    assert protected.stat().st_mode & 0o777 == 0o600


def test_equal_keys_are_encrypted_differently(key, tmp_path):
    key.save(tmp_path / "one", SECRET)
    key.save(tmp_path / "two", SECRET)
    assert (tmp_path / "one").read_bytes() != (tmp_path / "two").read_bytes()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_reads_it_and_finds_scrypt(protected, key):
    command = ["openssl", "pkey", "-in", protected, "-passin", f"pass:{SECRET}", "-pubout", "-outform", "DER"]
    public = subprocess.run(command, capture_output=True, check=True).stdout
    assert public[-32:] == key.public
    parsed = subprocess.run(["openssl", "asn1parse", "-in", protected], capture_output=True, check=True)
    assert b":scrypt" in parsed.stdout
    assert b"INTEGER           :4000" in parsed.stdout
