"""What passes between processes: all of it, the large parts once, and nothing of the last but one."""

from __future__ import annotations

from contextlib import suppress
from multiprocessing import Pipe
from threading import Thread

import pytest

from simulations.channel import Channel

LARGE = bytes(range(256)) * 4096
OTHER = LARGE[::-1]


class Counted(Channel):
    """Counts the large parts that are sent for themselves."""

    def __init__(self, pipe) -> None:
        super().__init__(pipe)
        self.parts = 0
        send = pipe.send_bytes

        class Watched:
            send_bytes = staticmethod(lambda part: (setattr(self, "parts", self.parts + 1), send(part)))
            send, recv, recv_bytes, close = pipe.send, pipe.recv, pipe.recv_bytes, pipe.close

        self._pipe = Watched()


@pytest.fixture
def ends():
    one, other = Pipe()
    near, far = Counted(one), Channel(other)
    yield near, far
    near.close()
    far.close()


def passed(ends, value):
    near, far = ends
    sender = Thread(target=near.send, args=(value,))
    sender.start()
    received = far.receive()
    sender.join()
    return received


@pytest.mark.parametrize(
    "value", [None, b"", b"small", LARGE, {"a": [LARGE, b"x", (LARGE, OTHER)]}, [[OTHER]]]
)
def test_what_is_received_is_what_was_sent(ends, value):
    assert passed(ends, value) == value


def test_what_was_sent_last_is_not_sent_again(ends):
    first = passed(ends, {"model": LARGE, "for": 1})
    assert ends[0].parts == 1
    passed(ends, "a question without a model")
    again = passed(ends, {"model": LARGE, "for": 2, "more": OTHER})
    assert ends[0].parts == 2
    assert again == {"model": LARGE, "for": 2, "more": OTHER}
    assert again["model"] is first["model"], "one copy serves all"


def test_what_was_sent_before_the_last_is_forgotten(ends):
    passed(ends, LARGE)
    passed(ends, OTHER)
    assert ends[0].parts == 2
    assert passed(ends, LARGE) == LARGE
    assert ends[0].parts == 3
    assert (len(ends[0]._sent), len(ends[1]._received)) == (1, 1)


def test_equal_bytes_that_are_another_object_are_sent(ends):
    passed(ends, LARGE)
    assert passed(ends, bytes(bytearray(LARGE))) == LARGE
    assert ends[0].parts == 2


def unheard(end, value):
    with suppress(OSError):
        end.send(value)


@pytest.mark.parametrize("method", ["recv", "recv_bytes"])
def test_after_a_message_that_was_cut_off_none_is_taken_for_it(ends, monkeypatch, method):
    near, far = ends

    def failing():
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(far._pipe, method, failing)
        sender = Thread(target=unheard, args=(near, [LARGE, "the first"]))
        sender.start()
        with pytest.raises(MemoryError):
            far.receive()
    for use in (far.receive, lambda: far.send("more")):
        with pytest.raises(OSError, match="cut off"):
            use()
    far.close()  # which ends the sending
    sender.join()


def test_what_cannot_be_pickled_leaves_all_as_it_was(ends):
    with pytest.raises(TypeError, match="cannot pickle"):
        ends[0].send([LARGE, Thread()])
    assert passed(ends, LARGE) == LARGE


def test_an_end_that_is_closed_is_told(ends):
    ends[0].close()
    with pytest.raises(EOFError):
        ends[1].receive()
