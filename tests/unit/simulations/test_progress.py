"""What a person sees: plain lines off a terminal, bars on one."""

from __future__ import annotations

import io
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction

import pytest
from rich.console import Console

from common.ledger import parse_lines
from common.privacy.accounting import epsilon_pld
from common.privacy.mechanisms import PoissonGaussian
from common.protocol import Refusal, TrainRequest
from server.state import ClientRecord, RoundOutcome, RunState
from server.strategy import FedAvg
from simulations.progress import ProgressDisplay
from tests.small_federation import MODEL, MadeUpClient, federation_settings


def watched(
    *, rounds: int = 3, stamp: str = "", terminal: bool = False
) -> tuple[ProgressDisplay, io.StringIO]:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=terminal, width=100, highlight=False)
    return ProgressDisplay(console, rounds=rounds, stamp=stamp), screen


def state_after(number: int) -> RunState:
    """Two clients, of whom the second has been charged twice a round."""
    clients = {}
    for partition_id, charges in ((0, number), (1, 2 * number)):
        client = MadeUpClient(partition_id, 1500, 0.0)
        for count in range(1, charges + 1):
            client.reserve(
                TrainRequest(
                    run="r",
                    round=count,
                    arrays=MODEL,
                    proposal=FedAvg(federation_settings(1), (0,)).proposal(0),
                    server_nonce="c" * 64,
                    known_entries=1,
                )
            )
        clients[partition_id] = ClientRecord(
            node_id=partition_id,
            partition_id=partition_id,
            num_examples=1500,
            ledger=parse_lines(client.lines),
        )
    return RunState(run="r", round=number, arrays=MODEL, velocity=MODEL, clients=clients)


def outcome(number: int, *refused: Refusal) -> RoundOutcome:
    return RoundOutcome(
        round=number,
        updates={0: "x"},
        refused=refused,
        input_model="",
        model="",
        metrics={"accuracy": 0.4321},
        seconds=1.26,
    )


def run(display: ProgressDisplay, rounds: int, *refused: Refusal) -> None:
    with display:
        display.joined(state_after(0), [])
        for number in range(1, rounds + 1):
            display.round_started(number, 2)
            display.client_answered()
            display.client_answered()
            display.round_finished(state_after(number), outcome(number, *refused))
        display.ended(replace(state_after(rounds), ended=f"all {rounds} rounds are done"), can_go_on=False)


def plain(screen: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())


def spent(steps: int) -> float:
    mechanism = PoissonGaussian(noise_multiplier=2.0, sample_rate=Fraction(1, 10), num_steps=steps)
    return epsilon_pld([mechanism], 1e-5)


def test_off_a_terminal_there_are_plain_lines_and_no_codes():
    display, screen = watched()
    run(display, 3)
    lines = screen.getvalue().splitlines()
    assert "\x1b" not in screen.getvalue()
    assert lines[0] == "2 clients joined with 3,000 examples."
    assert [line.split("  ")[0] for line in lines[1:4]] == ["round 1/3", "round 2/3", "round 3/3"]
    assert all("accuracy 43.21%" in line and line.endswith("1.3 s") for line in lines[1:4])
    assert lines[4:] == ["Training is over: all 3 rounds are done."]


def test_the_epsilon_shown_is_the_largest_of_the_ledgers():
    display, screen = watched()
    run(display, 3)
    shown = [float(value) for value in re.findall(r"epsilon ([0-9.]+)", screen.getvalue())]
    expected = [spent(2), spent(4), spent(6)]  # two charges a round, one step each
    assert shown == pytest.approx(expected, rel=5e-4, abs=1e-3)
    assert all(value >= true - 5e-4 for value, true in zip(shown, expected, strict=True))


def test_a_long_run_prints_about_twenty_lines_and_its_last_round():
    display, screen = watched(rounds=103)
    with display:
        for number in range(1, 104):
            display.round_finished(replace(state_after(0), round=number), outcome(number))
    numbers = [int(number) for number in re.findall(r"round (\d+)/103", screen.getvalue())]
    assert numbers == [*range(6, 103, 6), 103]


@pytest.mark.parametrize("terminal", [False, True])
def test_a_run_without_a_guarantee_shows_its_stamp_and_no_epsilon(terminal):
    display, screen = watched(stamp="NOT PRIVATE", terminal=terminal)
    run(display, 2)
    assert "NOT PRIVATE" in plain(screen)
    assert "epsilon" not in plain(screen)


def test_on_a_terminal_there_are_bars_with_the_figures():
    display, screen = watched(terminal=True)
    run(display, 3)
    text = plain(screen)
    assert "\x1b[" in screen.getvalue()
    assert re.search(r"rounds +━+.* 3/3 accuracy 43\.21%  epsilon \d\.\d{3}", text)
    assert re.search(r"clients +━+.* 2/2", text)
    assert "round 1/3" not in text, "bars replace the lines"
    assert "Training is over: all 3 rounds are done." in text


@pytest.mark.parametrize("terminal", [False, True])
def test_who_is_left_out_is_said_with_the_reason(terminal):
    display, screen = watched(terminal=terminal)
    run(display, 1, Refusal(partition_id=7, code="budget-exhausted", reason="the budget is spent"))
    assert "client 7 refused: the budget is spent" in plain(screen)


def test_a_client_that_gave_no_answer_refused_nothing():
    display, screen = watched()
    run(display, 1, Refusal(partition_id=7, code="no-answer", reason="its connection ended"))
    assert "client 7 left out: its connection ended" in plain(screen)


@pytest.mark.parametrize("terminal", [False, True])
@pytest.mark.parametrize(
    "reason",
    ["permitted is [numerator, denominator]", "[/]", "[/red] and [bold]more", "see [link=x]", "a\\[b]"],
)
def test_what_a_client_says_is_shown_as_it_is(terminal, reason):
    display, screen = watched(terminal=terminal)
    with display:
        display.joined(state_after(0), [f"client 3 did not join: {reason}"])
        display.round_finished(state_after(0), outcome(1, Refusal(partition_id=7, code="x", reason=reason)))
    assert f"client 3 did not join: {reason}" in plain(screen)
    assert f"client 7 refused: {reason}" in plain(screen)


def test_a_stop_is_asked_for_once():
    display, screen = watched()
    with display:
        assert not display.stop_requested
        display.request_stop()
        assert display.stop_requested
    assert "Stopping after this round; the run can be resumed." in screen.getvalue()


class HalfWritten(io.StringIO):
    """Output in whose midst a signal arrives; like the real one, it cannot be written to from the handler."""

    def __init__(self) -> None:
        super().__init__()
        self.signal: Callable[[], None] = lambda: None
        self._writer: int | None = None

    def write(self, text: str) -> int:
        if self._writer == threading.get_ident():
            raise RuntimeError("reentrant call")
        self._writer = threading.get_ident()
        handle, self.signal = self.signal, lambda: None
        handle()
        self._writer = None
        return super().write(text)


def test_a_stop_is_said_even_if_it_is_asked_for_in_the_midst_of_a_line():
    screen = HalfWritten()
    display = ProgressDisplay(Console(file=screen, width=100, highlight=False), rounds=3, stamp="")
    with display:
        screen.signal = display.request_stop
        display.joined(state_after(1), [])
    assert "2 clients joined" in screen.getvalue()
    assert "Stopping after this round" in screen.getvalue()


def test_a_resumed_run_begins_where_it_stopped():
    display, screen = watched(rounds=4, terminal=True)
    with display:
        display.joined(replace(state_after(0), round=2), [])
    assert re.search(r"rounds +━+.* 2/4", plain(screen))
