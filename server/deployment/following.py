"""Reading what a run writes into its folder for whoever watches it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from common.protocol import Refusal
from common.run_folder import RunFolder
from server.display import RunDisplay


class Follower:
    """Shows the events that were written since it last looked.

    Args:
        folder: the run's; what stands in it now was shown by another.
        names: returns the names of enrolled clients by their nodes.
    """

    def __init__(self, folder: RunFolder, names: Callable[[], Mapping[int, str]] = dict) -> None:
        self._path = folder.progress
        self._names = names
        self._nodes: dict[int, int] = {}
        self._told = False
        self._offset = 0
        self.ended = self.can_go_on = False
        for event in self._new_events():
            self._learn(event)

    def show(self, display: RunDisplay) -> None:
        """Show what is new."""
        for event in self._new_events():
            try:
                self._show(display, event)
            except (KeyError, TypeError, ValueError):
                continue  # of another version: the run itself goes on

    def named(self, text: str) -> str:
        """Return a line of the run's in which the first client that it speaks of has its name."""
        return re.sub(
            r"\bclient (\d+)\b", lambda found: self._name(int(found[1]), self._names()), text, count=1
        )

    def _new_events(self) -> list[dict[str, Any]]:
        """Return the events whose lines are complete."""
        if not self._path.exists():
            return []
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return [event for line in whole.splitlines() if isinstance(event := _parsed(line), dict)]

    def _show(self, display: RunDisplay, event: dict[str, Any]) -> None:
        match event["event"]:
            case "turned-away":
                self._told = True
                self._nodes[event["number"]] = event["node"]
                who = self._names().get(event["node"]) or _client(event["number"])
                display.warn(_dropped(who, event["why"], event.get("code", "")))
            case "joined":
                self._learn(event)
                display.joined(
                    clients=event["clients"],
                    examples=event["examples"],
                    done=event["done"],
                    refused=() if self._told else event["refused"],
                )
            case "round-started":
                display.round_started(event["cohort"])
            case "client-answered":
                display.client_answered()
            case "round-finished":
                display.round_finished(
                    event["round"],
                    accuracy=event["accuracy"],
                    spent=event["spent"],
                    dropped=self._named(event["refused"]),
                    seconds=event["seconds"],
                )
            case "round-failed":
                for line in self._named(event["refused"]):
                    display.warn(line)
            case "ended":
                self.ended, self.can_go_on = True, bool(event.get("can_go_on"))
                display.ended(event["reason"])

    def _learn(self, event: Mapping[str, Any]) -> None:
        """Note which client of a run is which node's."""
        numbers = event.get("numbers")
        if event.get("event") == "joined" and isinstance(numbers, dict):
            self._nodes |= {int(number): node for number, node in numbers.items() if number.isdecimal()}

    def _named(self, refused: list[list[Any]]) -> list[str]:
        names = self._names() if refused else {}  # as they are now: one may have been revoked meanwhile
        return [_dropped(self._name(number, names), reason, *code) for number, reason, *code in refused]

    def _name(self, number: int, names: Mapping[int, str]) -> str:
        return names.get(self._nodes.get(number, 0)) or _client(number)


def _client(number: int) -> str:
    return f"client {number}" if number >= 0 else "a node"


def _dropped(who: str, reason: str, code: str = "") -> str:
    return Refusal(partition_id=-1, code=code, reason=str(reason)).said_of(who)


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
