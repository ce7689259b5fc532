"""A fixture for what must come out the same with the compiled kernels and without them."""

from __future__ import annotations

import pytest

from client import kernels


@pytest.fixture(autouse=True, params=["kernels", "library"])
def with_and_without_kernels(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run each test of a module that imports this twice."""
    way: str = request.param
    if way == "library":
        monkeypatch.setattr(kernels, "at_hand", lambda: False)
    elif not kernels.at_hand():
        pytest.skip("the kernels were not built here")
    return way
