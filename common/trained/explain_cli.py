"""The command `fedledger explain`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.errors import ConfigError, DataError
from common.ledger.display import printable
from common.trained.options import WeightsOption

if TYPE_CHECKING:
    from common.trained.attribution import Explained
    from common.trained.loading import TrainedModel
    from common.trained.pictures import Picture
    from common.trained.sheet import Row

WARNING = (
    "a sheet shows the images themselves: explain public images or your own; a sheet of private training "
    "images is as private as they are, and no epsilon covers it"
)
MOST_IMAGES = 40
"""Rows of a sheet that a viewer opens with ease."""

UNREADABLE = 2
_NAMED = 3


def explain(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    images: Annotated[
        list[Path], typer.Argument(metavar="IMAGE...", help="Image files, and folders of them; 40 at most.")
    ],
    out: Annotated[Path, typer.Option(help="The picture that is written, such as sheet.png.")],
    methods: Annotated[
        str, typer.Option(help="Of saliency, integrated-gradients, grad-cam and occlusion, with commas.")
    ] = "saliency,integrated-gradients,grad-cam",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    weights: WeightsOption = None,
) -> None:
    """Draw which pixels a run's model goes by: a sheet of images, predictions and heat maps.

    A sheet shows the images themselves: use public ones or your own, not private training images.

    Exit status: 0 every image is on the sheet, 2 a mistake, or an image that cannot be read; the others are
    drawn all the same.
    """
    if out.suffix.lower() != ".png":
        raise ConfigError(f"--out {out} is not a PNG file: give a name that ends in .png")
    from common.device import resolve_device  # torch takes seconds; --help needs none
    from common.trained.attribution import choose_methods, explained
    from common.trained.loading import load_trained

    trained = load_trained(run, resolve_device(device), weights=weights)
    model = explained(trained)
    choice = choose_methods(tuple(name.strip() for name in methods.split(",")), model, trained.spec.name)
    readable, bad = _read(trained, images)
    for line in (WARNING, *choice.remarks):
        typer.echo(f"fedledger: {line}", err=True)
    rows = list(_explain(trained, model, readable, choice.names))
    _write(out, rows, choice.names, _footer(trained))
    typer.echo(f"{len(rows)} images, {', '.join(choice.names)}: {out}")
    raise typer.Exit(UNREADABLE if bad else 0)


def _read(trained: TrainedModel, images: list[Path]) -> tuple[list[Picture], int]:
    """Return the images that can be read, and how many cannot, each of which has its line.

    Raises:
        DataError: when there is none, or there are more than a sheet takes.
    """
    from common.trained.pictures import read_pictures

    readable: list[Picture] = []
    problems: list[str] = []
    for picture in read_pictures(images, image_size=trained.spec.image_size):
        if picture.problem:
            problems.append(printable(picture.problem))
        else:
            readable.append(picture)
        if len(readable) > MOST_IMAGES:
            raise DataError(f"a sheet takes {MOST_IMAGES} images at most, here are more: name fewer")
    if not readable:
        raise DataError(
            problems[0]
            if len(problems) == 1
            else f"none of {len(problems)} images can be read, the first: {problems[0]}"
        )
    for problem in problems:
        typer.echo(f"fedledger: {problem}", err=True)
    return readable, len(problems)


def _explain(
    trained: TrainedModel, model: Explained, pictures: list[Picture], names: tuple[str, ...]
) -> Iterator[Row]:
    """Yield a sheet's rows; each explains the class that the model takes its image for."""
    from common.trained.attribution import heat_maps
    from common.trained.predicting import predict
    from common.trained.sheet import Row

    for picture, prediction in zip(pictures, predict(trained, pictures, top=_NAMED), strict=True):
        if picture.pixels is not None:
            label = trained.classes.index(prediction.likely[0].name)
            heat = heat_maps(model, picture.pixels.to(trained.device), label, names)
            yield Row(title=picture.path, pixels=picture.pixels, likely=prediction.likely, heat=heat)


def _footer(trained: TrainedModel) -> str:
    name = trained.folder.root.name
    return f"Run {name}, model {trained.spec.name}. It shows the images: as private as they are."


def _write(out: Path, rows: list[Row], names: tuple[str, ...], footer: str) -> None:
    import io

    from common.run_folder import write_atomically
    from common.trained.sheet import draw_sheet

    data = io.BytesIO()
    draw_sheet(rows, names, printable(footer)).save(data, format="PNG")
    write_atomically(out, data.getvalue())
