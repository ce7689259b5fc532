"""Reading what a run writes into its folder for whoever watches it."""

from __future__ import annotations

import json
from typing import Any

from common.run_folder import RunFolder
from server.display import RunDisplay


class Follower:
    """Shows the events that were written since it last looked.

    Args:
        folder: the run's; what stands in it now was shown by another.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._path = folder.progress
        self._offset = self._path.stat().st_size if self._path.exists() else 0
        self.ended = False

    def show(self, display: RunDisplay) -> None:
        """Show what is new."""
        for event in self._new_events():
            try:
                self._show(display, event)
            except (KeyError, TypeError, ValueError):
                continue  # of another version: the run itself goes on

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
            case "joined":
                display.joined(
                    clients=event["clients"],
                    examples=event["examples"],
                    done=event["done"],
                    refused=event["refused"],
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
                    refused=[(partition_id, reason) for partition_id, reason in event["refused"]],
                    seconds=event["seconds"],
                )
            case "ended":
                self.ended = True
                display.ended(event["reason"])


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None
