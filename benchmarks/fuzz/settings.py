"""The readers of settings under hostile files, assignments and layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.fuzz.case import Case, Outcome, Violation, refused
from benchmarks.fuzz.layers import pack_layers, random_settings, unpack_layers
from benchmarks.fuzz.texts import mutate_bytes
from benchmarks.fuzz.toml import assignment, document
from common.config import (
    RunConfig,
    join_assignments,
    parse_assignment,
    read_toml,
    resolve,
    to_toml,
)
from common.errors import ConfigError

_MISTAKES = (
    *("unknown setting", "is not permitted", "is not valid TOML", "is nested too deeply", "cannot be read"),
    *("is given twice", "is a section", "is not section.key=value", "set exactly one of", "does not apply"),
    "needs data.data-dir",
)
"""What is wrong, in the words of the errors."""


class SettingsTarget:
    """`read_toml`, `parse_assignment`, `join_assignments`, `resolve` and `to_toml`.

    Args:
        folder: for the files.
    """

    name = "config"

    def __init__(self, folder: Path) -> None:
        self._file = folder / "settings.toml"
        self._default = RunConfig()
        self._sources: dict[str, Callable[[bytes], Sequence[Mapping[str, Any]]]] = {
            "file": self._read_file,
            "assignments": _read_assignments,
            "layers": unpack_layers,
        }

    def seeds(self) -> Sequence[Case]:
        """Return the file of all defaults, short files, assignments and layers."""
        random = Random("seeds")
        files = [document(random_settings(random), random) for _ in range(12)]
        lines = ["\n".join(assignment(random_settings(random), random)) for _ in range(12)]
        layers = [pack_layers([random_settings(random)]) for _ in range(12)]
        return [
            Case(kind="file", parts=(to_toml(self._default).encode(),)),
            *(Case(kind="file", parts=(text.encode("utf-8", "replace"),)) for text in files),
            *(Case(kind="assignments", parts=(text.encode("utf-8", "replace"),)) for text in lines),
            *(Case(kind="layers", parts=(data,)) for data in layers),
        ]

    def mutate(self, case: Case, other: Case, random: Random) -> Case:
        """Make up new settings as often as changing those that there are."""
        if case.kind == "layers":
            count = random.choice((1, 1, 2, 3))
            return Case(kind="layers", parts=(pack_layers([random_settings(random) for _ in range(count)]),))
        if random.random() < 0.5:
            return Case(kind=case.kind, parts=(mutate_bytes(case.parts[0], other.parts[0], random),))
        made = random_settings(random)
        text = document(made, random) if case.kind == "file" else "\n".join(assignment(made, random))
        data = text.encode("utf-8", "surrogatepass")
        if random.random() < 0.3:
            data = mutate_bytes(data, other.parts[0], random)
        return Case(kind=case.kind, parts=(data,))

    def judge(self, case: Case) -> Outcome:
        """What is accepted can be written down, and is read back as it was."""
        try:
            layers = self._sources[case.kind](case.parts[0])
            config = resolve(*layers)
        except ConfigError as error:
            return refused(error, next((why for why in _MISTAKES if why in str(error)), "other"))
        self._check_round_trip(config)
        return Outcome(verdict="accepted", why=case.kind, features=self._changed(config))

    def _read_file(self, data: bytes) -> list[Mapping[str, Any]]:
        self._file.write_bytes(data)
        return [read_toml(self._file)]

    def _check_round_trip(self, config: RunConfig) -> None:
        self._file.write_text(to_toml(config), encoding="utf-8", newline="")
        again = resolve(read_toml(self._file))
        if again != config or repr(again) != repr(config):
            differing = [key for key, value in again.flat().items() if value != config.flat()[key]]
            raise Violation("round-trip", f"{differing} are read back otherwise")

    def _changed(self, config: RunConfig) -> tuple[tuple[str, str], ...]:
        """Return which settings are not the default, and of which type they are."""
        default = self._default.flat()
        return tuple(
            (key, type(value).__name__) for key, value in config.flat().items() if value != default[key]
        ) or (("default", ""),)


def _read_assignments(data: bytes) -> list[Mapping[str, Any]]:
    """Read one assignment a line, as a shell hands them over."""
    text = data.decode("utf-8", "surrogateescape")
    return [join_assignments(parse_assignment(line) for line in text.split("\n"))]
