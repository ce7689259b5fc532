from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from common.ledger.keys import SigningKey
from common.transparency.log import ServerLog

ORIGIN = "fedledger/test"


@pytest.fixture
def origin() -> str:
    return ORIGIN


@pytest.fixture
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "server"


@pytest.fixture
def log(folder: Path, key: SigningKey) -> Iterator[ServerLog]:
    """An empty log, open."""
    with ServerLog.open(folder, key, ORIGIN) as log:
        yield log


@pytest.fixture
def twenty(folder: Path, key: SigningKey) -> Path:
    """The folder of a closed log of 20 leaves."""
    with ServerLog.open(folder, key, ORIGIN) as log:
        log.append([{"type": "ROUND", "round": number} for number in range(20)])
    return folder
