"""The command `fedledger train --central`: one pool that holds all images, to compare a federation with."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from common.audit.cli import REFUTED, VERIFIED
from common.config import RunConfig, Settings, join_assignments, read_toml, resolve
from common.errors import ConfigError
from common.new_run import settings_of
from common.run_folder import write_atomically
from simulations.cli import start_run
from simulations.options import (
    ConfigOption,
    DataDirOption,
    DatasetOption,
    DeltaOption,
    DeviceOption,
    ModelOption,
    NoiseMultiplierOption,
    NoPrivacyOption,
    OutOption,
    RoundsOption,
    SetOption,
    all_settings,
    settings_given,
)

POOL: Settings = {
    "federation.num-clients": 1,
    "federation.min-train-clients": 1,
    "federation.fraction-train": 1.0,
    "data.partitioner": "iid",
}
"""What makes a federation one pool; everything else stays as it is."""


def train(
    central: Annotated[
        bool, typer.Option("--central", help="All images in one pool, as one client; this must be given.")
    ] = False,
    beside: Annotated[
        Path | None,
        typer.Option(metavar="RUN", help="Take the settings of this run, and draw both in one chart."),
    ] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    dataset: DatasetOption = None,
    data_dir: DataDirOption = None,
    model: ModelOption = None,
    rounds: RoundsOption = None,
    epsilon: Annotated[float | None, typer.Option(help="Lifetime budget of the pool.")] = None,
    delta: DeltaOption = None,
    noise_multiplier: NoiseMultiplierOption = None,
    no_privacy: NoPrivacyOption = False,
    seed: Annotated[int | None, typer.Option(help="Initial weights; not noise.")] = None,
    device: DeviceOption = None,
    out: OutOption = None,
) -> None:
    """Train the baseline of one pool with a federation's settings: run folder and audit as of simulate."""
    given = settings_given(locals())
    if not central:
        raise ConfigError(
            "train is for the baseline of one pool, so give --central: `fedledger simulate` trains over "
            "simulated clients, `fedledger run` over real ones"
        )
    options = all_settings(given, assignments, no_privacy=no_privacy)
    settings = _with_a_place(pool_settings(_base(config, beside), join_assignments(options)))
    status = start_run(settings)
    if beside is not None and status in (VERIFIED, REFUTED):
        _show_beside(beside, Path(settings.runtime.out))
    raise typer.Exit(status)


def pool_settings(base: Settings, chosen: Settings) -> RunConfig:
    """Lay what a user chose over a federation's settings, with all images in one pool.

    Raises:
        ConfigError: when a choice contradicts the pool.
    """
    for key, value in POOL.items():
        if key in chosen and chosen[key] != value:
            raise ConfigError(
                f"{key} = {chosen[key]!r} contradicts --central, which is one pool: leave it out"
            )
    return resolve(base, chosen, POOL)


def _base(config: Path | None, beside: Path | None) -> Settings:
    if config is not None and beside is not None:
        raise ConfigError("--config and --beside both give the settings: leave one of the two out")
    if beside is not None:
        fresh = {"runtime.out": "auto", "runtime.ledgers": ""}
        return settings_of(beside).flat() | fresh
    return read_toml(config) if config else {}


def _with_a_place(config: RunConfig) -> RunConfig:
    """Name the folder here, so that a chart can be drawn of what will lie in it."""
    if config.runtime.out != "auto":
        return config
    out = f"runs/{time.strftime('%Y%m%d-%H%M%S')}-{config.data.dataset}-central"
    return config.model_copy(update={"runtime": config.runtime.model_copy(update={"out": out})})


def _show_beside(federated: Path, central: Path) -> None:
    from common.comparing.html import render
    from common.comparing.runs import read_runs
    from common.comparing.text import as_text

    runs = read_runs([federated, central.expanduser()])
    page = central.expanduser() / "comparison.html"
    write_atomically(page, render(runs).encode())
    typer.echo(f"\n{as_text(runs)}\n\nPage: {page}")
