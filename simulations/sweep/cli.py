"""The command `fedledger sweep`."""

from __future__ import annotations

import json
import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from common.config import Settings, join_assignments, read_toml, resolve
from common.errors import ConfigError
from common.names import require_known
from common.run_folder import RunFolder, exclusively, write_atomically
from simulations.cli import INTERRUPTED
from simulations.interrupts import interruptible
from simulations.options import (
    ConfigOption,
    DataDirOption,
    DatasetOption,
    ModelOption,
    NoPrivacyOption,
    SetOption,
    all_settings,
    settings_given,
)

if TYPE_CHECKING:
    from common.privacy.selection import Repeats
    from simulations.sweep.folder import SweepFolder
    from simulations.sweep.outcome import Outcome
    from simulations.sweep.plan import SweepPlan

CLEAN, FAILED = 0, 1
"""Exit statuses: every run succeeded and is verified, or one is not."""

MOST_PARALLEL = 256
_SHARES = {"half": 2, "third": 3}


def sweep(
    over: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SECTION.KEY=VALUE,VALUE", help="A setting to vary, and its values; repeatable."
        ),
    ] = None,
    strategy: Annotated[
        str,
        typer.Option(
            help="grid: all combinations. halving: all begin, and the better ones go on. random: private "
            "selection, with --charge selection."
        ),
    ] = "grid",
    keep: Annotated[str | None, typer.Option(help="Share that halving goes on with: half or third.")] = None,
    charge: Annotated[
        str,
        typer.Option(
            help="none: settings are chosen on public data. sum: say what all runs cost together. selection: "
            "release only the best of a secret number of trials."
        ),
    ] = "none",
    trials: Annotated[
        str | None,
        typer.Option(
            metavar="[poisson:|geometric:]MEAN", help="From what the number of random trials is drawn."
        ),
    ] = None,
    parallel: Annotated[int | None, typer.Option(help="Runs at a time; by default one a core.")] = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    dataset: DatasetOption = None,
    data_dir: DataDirOption = None,
    model: ModelOption = None,
    rounds: Annotated[int | None, typer.Option(help="Number of rounds of a full run.")] = None,
    epsilon: Annotated[float | None, typer.Option(help="Lifetime budget of each client of a run.")] = None,
    no_privacy: NoPrivacyOption = False,
    out: Annotated[str | None, typer.Option(help="The sweep's folder; must be new or empty.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with the sweep in this folder.")] = None,
) -> None:
    """Compare settings: simulate every combination side by side, audit each run, and draw table and chart.

    Exit status: 0 all runs are verified, 1 one failed or is not, 2 the sweep could not begin.
    """
    given = settings_given(locals(), but="out")  # the sweep's folder here
    options = all_settings(given, assignments, no_privacy=no_privacy)
    chosen = {"over": over, "keep": keep, "trials": trials, "config": config, "out": out}
    if resume is not None:
        _refuse_changes(options, chosen | {"strategy": strategy != "grid", "charge": charge != "none"})
        raise typer.Exit(_go_on(resume, _checked_parallel(parallel)))
    plan = _plan(options, config, over or [], (strategy, charge), keep, trials)
    raise typer.Exit(_begin(plan, out, _checked_parallel(parallel)))


def _refuse_changes(options: list[Settings], chosen: dict[str, Any]) -> None:
    changed = [name for settings in options for name in settings]
    changed += [f"--{name}" for name, value in chosen.items() if value]
    if changed:
        raise ConfigError(
            f"--resume goes on with a sweep's own settings, so {changed[0]} cannot be given: only --parallel "
            "can change"
        )


def _plan(
    options: list[Settings],
    config: Path | None,
    over: list[str],
    how: tuple[str, str],
    keep: str | None,
    trials: str | None,
) -> SweepPlan:
    from simulations.sweep.axes import parse_axes
    from simulations.sweep.plan import Charge, Strategy, SweepPlan, check

    strategy: Any = require_known("--strategy", how[0], get_args(Strategy))
    charge: Any = require_known("--charge", how[1], get_args(Charge))
    if keep is not None and strategy != "halving":
        raise ConfigError("--keep is the share that --strategy halving goes on with: give both, or neither")
    axes, chosen = parse_axes(over), join_assignments(options)
    for axis in axes:
        if axis.key in chosen:
            raise ConfigError(f"{axis.key} is both set and in --over: leave one of the two out")
    plan = SweepPlan(
        base=(read_toml(config) if config else {}) | chosen,
        axes=axes,
        strategy=strategy,
        charge=charge,
        keep=_SHARES[require_known("--keep", keep or "half", _SHARES)],
        repeats=_repeats(trials) if trials else None,
    )
    check(plan)
    return plan


def _repeats(text: str) -> Repeats:
    from common.privacy.selection import Distribution, Repeats

    name, separator, mean = text.rpartition(":")
    distribution: Any = require_known("--trials", name, get_args(Distribution)) if separator else "poisson"
    try:
        return Repeats(distribution=distribution, mean=float(mean))
    except ValueError:
        raise ConfigError(
            f"--trials {text!r:.60} is not a mean, such as 10, or geometric:10: give a number at least 1"
        ) from None


def _checked_parallel(parallel: int | None) -> int | None:
    if parallel is not None and not 1 <= parallel <= MOST_PARALLEL:
        raise ConfigError(
            f"--parallel {parallel} is not permitted: give a number at least 1 and at most {MOST_PARALLEL}"
        )
    return parallel


def _begin(plan: SweepPlan, out: str | None, parallel: int | None) -> int:
    from simulations.sweep.folder import begin

    dataset = resolve(plan.base).data.dataset
    root = Path(out or f"sweeps/{time.strftime('%Y%m%d-%H%M%S')}-{dataset}")
    return _run(plan, begin(root, plan), parallel)


def _go_on(root: Path, parallel: int | None) -> int:
    from simulations.sweep.folder import SweepFolder, read_plan

    return _run(read_plan(root), SweepFolder(root.expanduser().absolute()), parallel)


def _run(plan: SweepPlan, folder: SweepFolder, parallel: int | None) -> int:
    with exclusively(RunFolder(folder.root)):
        outcome = _work(plan, folder, parallel)
        if outcome is None:
            typer.echo(f"To go on: fedledger sweep --resume {shlex.quote(str(folder.root))}")
            return INTERRUPTED
        return _finish(plan, folder, outcome)


def _work(plan: SweepPlan, folder: SweepFolder, parallel: int | None) -> Outcome | None:
    from server.display import Screen
    from simulations.sweep.display import SilentDisplay, SweepDisplay
    from simulations.sweep.running import default_parallel, run_all
    from simulations.sweep.selection import select
    from simulations.sweep.text import warnings_before

    at_a_time = parallel or min(default_parallel(resolve(plan.base)), len(plan.runs))
    secret = plan.strategy == "random"
    names = {run.name: run.label for run in plan.runs}
    console = Screen(highlight=False)
    with (SilentDisplay if secret else SweepDisplay)(console, names) as display, interruptible(display):
        for line in [resolve(plan.base).stamp, *warnings_before(plan)]:
            if line:
                display.say(line)
        return (select if secret else run_all)(plan, folder, display, at_a_time)


def _finish(plan: SweepPlan, folder: SweepFolder, outcome: Outcome) -> int:
    from simulations.sweep.html import render
    from simulations.sweep.outcome import to_json
    from simulations.sweep.selection import release
    from simulations.sweep.text import as_text, headline

    record = json.dumps(to_json(outcome), indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(folder.table, record.encode() + b"\n")
    write_atomically(folder.page, render(outcome).encode())
    if plan.strategy == "random":
        release(folder, outcome)
    typer.echo(f"{headline(outcome)}.\n\n{as_text(outcome)}\n\nPage: {folder.page}")
    if outcome.failures:
        typer.echo(f"To try again what failed: fedledger sweep --resume {shlex.quote(str(folder.root))}")
    return CLEAN if outcome.clean else FAILED
