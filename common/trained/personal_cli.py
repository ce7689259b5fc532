"""The command `fedledger personalise`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.audit.wording import percent_text
from common.errors import ConfigError

if TYPE_CHECKING:
    from common.data import ImageData
    from common.trained.loading import TrainedModel
    from common.trained.personalising import Personal


def personalise(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    out: Annotated[
        Path, typer.Option(help="Folder for the personal model; must be new or empty, and outside the run's.")
    ],
    data_dir: Annotated[
        Path | None, typer.Option(help="A site's own images, DIR/train/<class>/*; run this at the site.")
    ] = None,
    client: Annotated[
        int | None, typer.Option(help="Instead: the number of a client of a simulation.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the images.")] = 5,
    learning_rate: Annotated[
        float | None, typer.Option(help="Step size; by default one that suits the model.")
    ] = None,
    held_out: Annotated[
        float, typer.Option(help="Share of each class that is not trained on, to measure what was gained.")
    ] = 0.2,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
) -> None:
    """Train a run's model on with one's own images, without noise, for oneself alone.

    Nothing is sent anywhere and no budget is spent: the images, the model and the figures stay here. The
    model is as private as the images and must not be shared.

    Exit status: 0 the model is written, 2 a mistake.
    """
    _refuse(data_dir, client, epochs, learning_rate, held_out)
    from common.device import resolve_device  # torch takes seconds; --help needs none
    from common.trained.loading import load_trained
    from common.trained.personal_folder import refuse_place, write_personal
    from common.trained.personalising import Plan
    from common.trained.personalising import personalise as train

    refuse_place(out, run)
    trained = load_trained(run, resolve_device(device))
    plan = Plan(
        epochs=epochs,
        learning_rate=trained.spec.auto_rates.personal if learning_rate is None else learning_rate,
        held_out=held_out,
        feature_cache=trained.config.runtime.feature_cache if data_dir is None else "",
    )
    personal = train(trained, _images(trained, data_dir, client), plan)
    write_personal(out, trained, personal, plan)
    typer.echo(_summary(personal, out))


def _refuse(
    data_dir: Path | None, client: int | None, epochs: int, learning_rate: float | None, held_out: float
) -> None:
    if (data_dir is None) == (client is None):
        raise ConfigError("give one of --data-dir DIR (a site's own images) and --client N (of a simulation)")
    if epochs < 1:
        raise ConfigError(f"--epochs {epochs} is not permitted: give a whole number at least 1")
    if learning_rate is not None and not (learning_rate > 0 and math.isfinite(learning_rate)):
        raise ConfigError(f"--learning-rate {learning_rate} is not permitted: give a finite number above 0")
    if not 0 < held_out < 1:
        raise ConfigError(f"--held-out {held_out} is not permitted: give a share above 0 and below 1")


def _images(trained: TrainedModel, data_dir: Path | None, client: int | None) -> ImageData:
    from common.trained.personal_data import images_of_client, images_of_site

    if data_dir is not None:
        return images_of_site(trained, data_dir)
    return images_of_client(trained, client or 0)


def _summary(personal: Personal, out: Path) -> str:
    from common.trained.personal_folder import WARNING

    better = personal.after > personal.before
    lines = [
        "NOT RELEASED: these figures and this model stay here.",
        "",
        f"trained on     {personal.num_trained:,} images, without noise",
        f"measured on    {personal.num_held_out:,} images that were held out",
        f"shared model   {percent_text(personal.before)}",
        f"personal model {percent_text(personal.after)}",
        "",
        *([] if better else ["The personal model is no better here: use the shared one.", ""]),
        f"{WARNING}",
        f"Model: {out}",
    ]
    return "\n".join(lines)
