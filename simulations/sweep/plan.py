"""What a sweep does: its settings, axes, strategy and charge, checked before any run starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from common.config import RunConfig, Settings, resolve
from common.errors import ConfigError
from common.privacy.selection import Repeats
from simulations.sweep.axes import SEED, Axis, combinations, label
from simulations.sweep.schedule import Rung, rungs

Strategy = Literal["grid", "halving", "random"]
Charge = Literal["none", "sum", "selection"]

MOST_RUNS = 1000
ROUNDS = "federation.num-server-rounds"

SAME_CHARGE = frozenset(
    {
        "data.augmentation",
        "federation.drift-correction",
        "federation.model-average",
        "federation.server-momentum",
        "federation.weighting",
        "model.name",
        "privacy.max-grad-norm",
        "training.learning-rate",
        "training.learning-rate-decay",
        "training.loss",
        "training.momentum",
        "training.optimizer",
        "training.proximal-mu",
    }
)
"""Settings that change what is learnt, and nothing of who holds which record or what a round charges it."""


@dataclass(frozen=True, kw_only=True)
class SweepRun:
    """One simulation of a sweep.

    Args:
        name: of its folder.
        candidate: number of the settings that it tries, from 1; runs of other seeds share it.
        settings: those of the axes, the seed included where it is one.
    """

    name: str
    candidate: int
    settings: Settings

    @property
    def label(self) -> str:
        """Its settings as one text."""
        return label(self.settings)


@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """Everything that decides what a sweep does; a sweep that goes on has the same.

    Args:
        base: settings that all runs share, as they were given.
        axes: settings that differ.
        keep: halving goes on with one in so many.
        repeats: from what the number of trials is drawn (random only).
    """

    base: Settings
    axes: tuple[Axis, ...]
    strategy: Strategy = "grid"
    charge: Charge = "none"
    keep: int = 2
    repeats: Repeats | None = None

    @cached_property
    def candidates(self) -> tuple[Settings, ...]:
        """The settings to choose among; a seed is not one of them."""
        return tuple(combinations(axis for axis in self.axes if axis.key != SEED))

    @property
    def seeds(self) -> tuple[Any, ...]:
        """Seeds that each of the settings is run with, where they are an axis."""
        return next((axis.values for axis in self.axes if axis.key == SEED), ())

    @cached_property
    def runs(self) -> tuple[SweepRun, ...]:
        """All simulations of a grid, or those that a halving starts with."""
        return tuple(self._runs())

    def _runs(self) -> Iterator[SweepRun]:
        for number, settings in enumerate(self.candidates, 1):
            if not self.seeds:
                yield SweepRun(name=f"{number:03d}", candidate=number, settings=settings)
            for seed in self.seeds:
                name = f"{number:03d}-seed-{seed}"
                yield SweepRun(name=name, candidate=number, settings=settings | {SEED: seed})

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The rungs of a halving, or the one of everything else: all settings, all rounds."""
        rounds = resolve(self.base).federation.num_server_rounds
        if self.strategy == "halving":
            return rungs(len(self.candidates), rounds, self.keep)
        return (Rung(settings=len(self.candidates), rounds=rounds),)

    def config(self, settings: Settings) -> RunConfig:
        """Return the settings of one run.

        Raises:
            ConfigError: when they are not permitted; names the combination.
        """
        try:
            return resolve(self.base, settings)
        except ConfigError as error:
            raise ConfigError(f"with {label(settings)}: {error}") from None

    def to_json(self) -> dict[str, Any]:
        """Return what `plan_of` reads."""
        return asdict(self) | {"axes": {axis.key: list(axis.values) for axis in self.axes}}


def plan_of(record: dict[str, Any]) -> SweepPlan:
    """Read what `SweepPlan.to_json` gave.

    Raises:
        KeyError, TypeError: when it is something else.
    """
    axes = tuple(Axis(key=key, values=tuple(values)) for key, values in record["axes"].items())
    repeats = Repeats(**record["repeats"]) if record["repeats"] else None
    return SweepPlan(**{**record, "axes": axes, "repeats": repeats})


def check(plan: SweepPlan) -> None:
    """Find what is wrong with any run before one starts.

    Raises:
        ConfigError: names the combination or the option.
    """
    _check_number(plan)
    _check_options(plan)
    for run in plan.runs:
        _check_run(plan.config(run.settings), run)
    _ = plan.rungs


def _check_number(plan: SweepPlan) -> None:
    number = len(plan.candidates) * max(1, len(plan.seeds))
    if number > MOST_RUNS:
        raise ConfigError(f"{number:,} runs are too many: give --over values for at most {MOST_RUNS:,}")


def _check_options(plan: SweepPlan) -> None:
    if (plan.strategy == "random") != (plan.charge == "selection"):
        raise ConfigError(
            f"--strategy {plan.strategy} --charge {plan.charge} do not go together: private selection draws "
            "its trials, so give --strategy random with --charge selection, or neither"
        )
    if plan.charge != "none" and (stamp := resolve(plan.base).stamp):
        raise ConfigError(f"--charge {plan.charge} needs privacy, and this sweep is {stamp}: leave it out")
    if (plan.strategy == "random") != (plan.repeats is not None):
        raise ConfigError(
            "--trials is the mean number of trials that --strategy random draws: give both, or neither"
        )
    if plan.strategy == "halving" and any(axis.key == ROUNDS for axis in plan.axes):
        raise ConfigError(f"--strategy halving decides itself who runs how long: leave --over {ROUNDS} out")
    if plan.charge == "selection":
        _require_equal_charges(plan, {*SAME_CHARGE}, "private selection is for trials of equal cost")
    if plan.strategy == "halving" and plan.charge == "sum":
        why = "halving chooses by results what is charged next, which composes only where all cost the same"
        _require_equal_charges(plan, {*SAME_CHARGE, SEED}, why)


def _require_equal_charges(plan: SweepPlan, permitted: set[str], why: str) -> None:
    for axis in plan.axes:
        if axis.key not in permitted:
            raise ConfigError(
                f"--over {axis.key} does not go with --charge {plan.charge}: {why}; leave it out, or use "
                "--strategy grid with --charge sum"
            )


def _check_run(config: RunConfig, run: SweepRun) -> None:
    if config.runtime.ledgers:
        raise ConfigError(
            "runtime.ledgers is for runs that follow each other, and a sweep's go side by side: leave it "
            "out, and --charge sum says what all of them cost together"
        )
    if config.runtime.out != "auto":
        raise ConfigError("runtime.out is for one run: name the folder of a sweep with --out")
    from common.data.shares import preparation_of  # torch takes seconds; --help needs none
    from common.models import spec_of

    try:
        spec_of(config.model)
        preparation_of(config)
    except ConfigError as error:
        raise ConfigError(f"with {run.label}: {error}") from None
