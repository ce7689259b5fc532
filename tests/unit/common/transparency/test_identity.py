from __future__ import annotations

import pytest

from common.errors import LedgerTampered
from common.transparency.identity import log_name, read_key
from common.transparency.note import verifier_key


def test_a_verifier_key_is_read_back(tmp_path, key):
    path = tmp_path / "key.pub"
    path.write_text(verifier_key(log_name(key.public), key.public) + "\n")
    assert read_key(path) == key.public


@pytest.mark.parametrize("size", [0, 1, 31, 33, 64])
def test_a_key_has_32_bytes_even_where_its_name_and_hash_fit(tmp_path, size):
    path, key = tmp_path / "key.pub", bytes(size)
    path.write_text(verifier_key(log_name(key), key) + "\n")
    with pytest.raises(LedgerTampered, match="not the verifier key of a server's log"):
        read_key(path)
