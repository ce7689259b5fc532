from __future__ import annotations

from common.words import counted


def test_counts() -> None:
    assert counted(1, "error") == "1 error"
    assert counted(0, "error") == "0 errors"
    assert counted(1000, "client") == "1,000 clients"
    assert counted(1, "leaf", "leaves") == "1 leaf"
    assert counted(2, "leaf", "leaves") == "2 leaves"
