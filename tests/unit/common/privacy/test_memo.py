from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.privacy.memo import OncePerKey


def test_concurrent_callers_wait_for_one_computation():
    calls: list[int] = []
    start = threading.Barrier(16)

    def slow(key: int) -> int:
        calls.append(key)
        time.sleep(0.05)
        return key * 10

    memo = OncePerKey(slow)

    def ask(caller: int) -> int:
        start.wait()
        return memo(caller % 2)

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(16))) == [0, 10] * 8
    assert sorted(calls) == [0, 1]


def test_different_keys_do_not_wait_for_each_other():
    both = threading.Barrier(2, timeout=10)
    memo = OncePerKey(lambda key: both.wait() and key)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(memo, [1, 2]))


def test_an_error_is_not_kept():
    answers = iter([ValueError("first"), 7])

    def once_wrong(_: str) -> int:
        answer = next(answers)
        if isinstance(answer, ValueError):
            raise answer
        return answer

    memo = OncePerKey(once_wrong)
    with pytest.raises(ValueError, match="first"):
        memo("key")
    assert memo("key") == 7
    assert memo("key") == 7


def test_the_oldest_value_goes_first():
    calls: list[int] = []
    memo = OncePerKey(calls.append, capacity=2)
    for key in (1, 2, 3, 3, 2, 1):
        memo(key)
    assert calls == [1, 2, 3, 1]
    memo.clear()
    memo(1)
    assert calls == [1, 2, 3, 1, 1]
