"""The command `fedledger predict`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from common.errors import ConfigError
from common.ledger.display import printable
from common.trained.options import WeightsOption

if TYPE_CHECKING:
    from common.trained.predicting import Prediction

UNREADABLE = 2
"""Exit status where an image could not be read."""


def predict(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Image files, and folders of them.")
    ],
    top: Annotated[int, typer.Option(help="Most probable classes that are named.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    weights: WeightsOption = None,
) -> None:
    """Say what images show, with the model that a run has trained.

    Exit status: 0 every image was answered, 2 a mistake, or an image that cannot be read; the others are
    answered all the same.
    """
    if top < 1:
        raise ConfigError(f"--top {top} is not permitted: give a whole number at least 1")
    from common.device import resolve_device  # torch takes seconds; --help needs none
    from common.trained.loading import load_trained
    from common.trained.pictures import read_pictures
    from common.trained.predicting import predict as answers

    trained = load_trained(run, resolve_device(device), weights=weights)
    pictures = read_pictures(images, image_size=trained.spec.image_size)
    found = answers(trained, pictures, top=top)
    raise typer.Exit(_print_json(found) if as_json else _print_lines(found))


def _print_lines(predictions: Iterable[Prediction]) -> int:
    status = 0
    for prediction in predictions:
        if prediction.problem:
            status = _complain(prediction)
            continue
        likely = "  ".join(f"{one.name} {100 * one.probability:.1f} %" for one in prediction.likely)
        typer.echo(printable(f"{prediction.path}: {likely}"))
    return status


def _print_json(predictions: Iterable[Prediction]) -> int:
    status, records = 0, []
    for prediction in predictions:
        if prediction.problem:
            status = _complain(prediction)
        records.append(_as_record(prediction))
    typer.echo(json.dumps(records, indent=1, ensure_ascii=False))
    return status


def _complain(prediction: Prediction) -> int:
    typer.echo(f"fedledger: {printable(prediction.problem)}", err=True)
    return UNREADABLE


def _as_record(prediction: Prediction) -> dict[str, Any]:
    if prediction.problem:
        return {"image": prediction.path, "problem": prediction.problem}
    classes = [{"class": one.name, "probability": one.probability} for one in prediction.likely]
    return {"image": prediction.path, "classes": classes}
