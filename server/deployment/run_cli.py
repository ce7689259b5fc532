"""The command that makes a run on the clients that are connected."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from common.audit.cli import REFUTED, VERIFIED, summary
from common.config import RunConfig, Settings, join_assignments, parse_assignment, read_toml, resolve
from common.errors import ConfigError, DataError
from common.new_run import new_root, settings_to_resume, with_absolute_paths
from server.deployment.cli import StateOption
from server.deployment.errors import UNFINISHED, RunInterrupted

if TYPE_CHECKING:
    from server.deployment.run import Order
    from server.display import RunDisplay

TIMEOUT_KEY, TIMEOUT_SECONDS = "federation.round-timeout-seconds", 3600.0
"""What a run with real clients has unless the settings say otherwise: some client will fail some day."""

CLIENTS_KEY = "federation.num-clients"


def run(
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML); --set overrides it.")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any setting; repeatable.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="Run folder; must be new or empty.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Continue the run in this folder.")] = None,
    state: StateOption = Path("server-state"),
    clients: Annotated[
        int | None, typer.Option(help="Start when so many are online; federation.num-clients follows it.")
    ] = None,
    wait: Annotated[
        float, typer.Option(help="Seconds to wait for them; else 300.", show_default=False)
    ] = 300.0,
) -> None:
    """Train over the clients that are connected to the running server, then audit what was spent."""
    if (clients is not None and clients < 1) or not wait >= 0:
        raise ConfigError("--clients is at least 1, and --wait at least 0")
    if resume is not None:
        if config or assignments or out:
            raise ConfigError(
                "--resume continues a run with its own settings: leave out --config, --set and --out"
            )
        settings = settings_to_resume(resume)
    else:
        settings = _settings(config, assignments or [], out, state, clients)
    from server.deployment.run import Order, refuse_a_second

    needed = clients or settings.federation.num_clients
    order = Order(state=state, config=settings, clients=needed, wait_seconds=wait)
    refuse_a_second(order)
    raise typer.Exit(_make(order))


def _settings(
    config: Path | None, assignments: list[str], out: str | None, state: Path, clients: int | None = None
) -> RunConfig:
    file = read_toml(config) if config else {}
    given = [parse_assignment(text) for text in assignments]
    given += [{"runtime.out": out}] if out else []
    joined = join_assignments(given)
    defaults: Settings = {TIMEOUT_KEY: TIMEOUT_SECONDS, "runtime.ledgers": str(state.resolve() / "ledgers")}
    counted: Settings = {} if clients is None else {CLIENTS_KEY: clients}  # a resumed run waits for as many
    settings = resolve({**defaults, **counted, **file, **joined})
    from common.models import pinned

    return pinned(with_absolute_paths(_with_images_found(settings), new_root(settings)))


def _with_images_found(config: RunConfig) -> RunConfig:
    """Name the folder of images so that the run's process, which works elsewhere, finds it.

    Raises:
        DataError: when it is not there.
    """
    if not config.data.data_dir:
        return config
    place = Path(config.data.data_dir).expanduser().resolve()
    if config.data.dataset == "folder" and not place.is_dir():
        raise DataError(f"data folder {config.data.data_dir!r} does not exist: name that of the test images")
    if config.data.dataset == "folder" and not any((place / part).is_dir() for part in ("test", "train")):
        raise DataError(
            f"data folder {config.data.data_dir!r} has no test/ inside: put test images in DIR/test/<class>/"
        )
    return config.model_copy(update={"data": config.data.model_copy(update={"data_dir": str(place)})})


def _make(order: Order) -> int:
    from server.deployment.following import Follower
    from server.deployment.run import names_of_nodes, report_on, submit, wait_for_clients, watch, way_on
    from server.display import RunDisplay, Screen

    console = Screen(highlight=False)
    if order.config.stamp:
        console.print(f"[bold red]{order.config.stamp}[/]")

    def say(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False)

    wait_for_clients(order, say)
    display = RunDisplay(console, rounds=order.config.federation.num_server_rounds)
    follower = Follower(order.folder, lambda: names_of_nodes(order.state))
    run_id = submit(order, say)
    display.start()
    try:
        with _stopping(order, run_id, display) as stop:
            watch(order, run_id, follower, display)
    finally:
        display.stop()
    report = report_on(order)
    typer.echo(summary(report, order.folder.root / "report.html"))
    if stop.asked and follower.can_go_on:
        raise RunInterrupted(f"interrupted; it goes on with {way_on(order.folder)}")
    if follower.can_go_on:
        typer.echo(f"To go on: {way_on(order.folder)}")
    if not report.verified:
        return REFUTED
    return UNFINISHED if follower.can_go_on else VERIFIED


class _Stop:
    """Whether the person asked for a stop."""

    asked = False


@contextmanager
def _stopping(order: Order, run_id: int, display: RunDisplay) -> Iterator[_Stop]:
    """Let the first Ctrl-C stop the run after its round, and a second one at once."""
    from server.deployment.run import stop_at_once, way_on

    stop = _Stop()

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.asked = True
        order.folder.stop_request.touch()
        display.say_stopping()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield stop
    except KeyboardInterrupt:
        stop_at_once(order, run_id)
        raise RunInterrupted(
            f"interrupted within a round; the run goes on with {way_on(order.folder)}"
        ) from None
    finally:
        signal.signal(signal.SIGINT, before)
