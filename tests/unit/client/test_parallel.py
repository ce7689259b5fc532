"""Work cut into blocks: all of it once, on no more threads than are permitted, and errors told."""

from __future__ import annotations

import os
import threading
import time

import pytest
import torch

from client.kernels.parallel import by_blocks, cores_for_kernels, threads_for_kernels


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
@pytest.mark.parametrize("blocks", [1, 2, 5, 16, 0])
@pytest.mark.parametrize("operations", [1, 10**9])
def test_every_block_is_done_once(threads, blocks, operations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    done: list[slice] = []
    by_blocks(done.append, blocks, operations=operations)
    assert sorted(number for part in done for number in range(blocks)[part]) == list(range(blocks))
    assert len(done) == (min(1, blocks) if operations == 1 else min(threads, blocks))


def test_an_error_on_another_thread_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    def fail_elsewhere(part: slice) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise OSError("elsewhere")

    with pytest.raises(OSError, match="elsewhere"):
        by_blocks(fail_elsewhere, 4, operations=10**9)


def test_nothing_is_written_any_more_when_an_error_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    done = []

    def task(part: slice) -> None:
        if part.start < 2:
            raise OSError("early")
        time.sleep(0.2)
        done.append(part)

    with pytest.raises(OSError, match="early"):
        by_blocks(task, 3, operations=10**9)
    assert len(done) == 1


def test_kernels_get_the_cores_and_give_them_back() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with cores_for_kernels():
            assert (torch.get_num_threads(), threads_for_kernels()) == (1, 3)
            done: list[slice] = []
            by_blocks(done.append, 6, operations=10**9)
            assert len(done) == 3
        assert (torch.get_num_threads(), threads_for_kernels()) == (3, 3)
    finally:
        torch.set_num_threads(before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    by_blocks(lambda _: None, 2, operations=10**9)  # the parent's thread has begun
    process = os.fork()
    if process == 0:
        by_blocks(lambda _: None, 2, operations=10**9)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
