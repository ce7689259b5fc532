"""The commands that simulate a federation."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.audit.cli import REFUTED, VERIFIED, summary
from common.config import (
    RunConfig,
    Settings,
    describe_settings,
    join_assignments,
    read_toml,
    resolve,
    to_toml,
)
from common.errors import ConfigError
from simulations.interrupts import interruptible
from simulations.options import (
    ConfigOption,
    DataDirOption,
    DatasetOption,
    DeltaOption,
    DeviceOption,
    EpsilonOption,
    ModelOption,
    NoiseMultiplierOption,
    NoPrivacyOption,
    OutOption,
    RoundsOption,
    SeedOption,
    SetOption,
    all_settings,
    settings_given,
)

if TYPE_CHECKING:
    from simulations.harness import Simulation

SETTINGS_HELP = "Every setting, for --set and for the file of --config:\n\n" + "\n\n".join(
    describe_settings().splitlines()
)

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""

_WITH_RESUME = {"workers", "device"}


def show_config() -> None:
    """Print a commented settings file with all defaults, to edit and pass to `simulate --config`."""
    typer.echo(to_toml(RunConfig()), nl=False)


def simulate(
    config: ConfigOption = None,
    assignments: SetOption = None,
    dataset: DatasetOption = None,
    data_dir: DataDirOption = None,
    clients: Annotated[int | None, typer.Option(help="Number of clients.")] = None,
    rounds: RoundsOption = None,
    partitioner: Annotated[
        str | None, typer.Option(help="iid, dirichlet, pathological or quantity-skew.")
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Dirichlet concentration; smaller is less even.")
    ] = None,
    model: ModelOption = None,
    epsilon: EpsilonOption = None,
    delta: DeltaOption = None,
    noise_multiplier: NoiseMultiplierOption = None,
    no_privacy: NoPrivacyOption = False,
    workers: Annotated[str | None, typer.Option(help='Clients at a time, or "auto".')] = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder.")] = None,
    out: OutOption = None,
    ledgers: Annotated[
        str | None, typer.Option(help="Folder of ledgers that outlive the run, so that budgets do too.")
    ] = None,
) -> None:
    """Train a shared model over simulated clients under differential privacy, then audit what was spent."""
    given = settings_given(locals())
    if resume is not None:
        _refuse_changes({*given, *(["no-privacy"] if no_privacy else [])} | set(assignments or []), config)
        raise typer.Exit(_continue_run(resume, join_assignments([*given.values()])))
    options = all_settings(given, assignments, no_privacy=no_privacy)
    file = read_toml(config) if config else {}
    raise typer.Exit(start_run(resolve(file, join_assignments(options))))


def _refuse_changes(given: set[str], config: Path | None) -> None:
    changed = sorted(given - _WITH_RESUME)
    if config is not None:
        changed.append("config")
    if changed:
        option = changed[0].replace("_", "-")
        raise ConfigError(
            f"--resume continues a run with its own settings, so {option} cannot be given: only --workers "
            "and --device can change"
        )


def start_run(config: RunConfig) -> int:
    """Simulate, show progress, print the audit and return the exit status."""
    from simulations.harness import simulate as run  # torch and flwr take seconds; --help needs neither

    with _watched(config) as display:
        simulation = run(config, observer=display)
    left = config.federation.num_server_rounds - simulation.state.round
    return _finish(simulation, stopped=display.stop_requested and left > 0)


def _continue_run(root: Path, runtime: Settings) -> int:
    from common.new_run import settings_to_resume
    from simulations.harness import resume

    config = settings_to_resume(root, runtime)
    with _watched(config) as display:
        simulation = resume(root, observer=display, settings=runtime)
    left = config.federation.num_server_rounds - simulation.state.round
    return _finish(simulation, stopped=display.stop_requested and left > 0)


def _finish(simulation: Simulation, *, stopped: bool) -> int:
    typer.echo(summary(simulation.report, simulation.folder.root / "report.html"))
    if stopped:
        typer.echo(f"To go on: fedledger simulate --resume {shlex.quote(str(simulation.folder.root))}")
        return INTERRUPTED
    return VERIFIED if simulation.report.verified else REFUTED


@contextmanager
def _watched(config: RunConfig) -> Iterator[Any]:
    """Show progress; the first Ctrl-C stops after the round, a second one at once."""
    from simulations.progress import ProgressDisplay, Screen

    console = Screen(highlight=False)
    if config.stamp:
        console.print(f"[bold red]{config.stamp}[/]")
    rounds = config.federation.num_server_rounds
    with ProgressDisplay(console, rounds=rounds, stamp=config.stamp) as display, interruptible(display):
        yield display
