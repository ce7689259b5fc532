"""The command `fedledger export`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from common.errors import ConfigError
from common.trained.options import WeightsOption

if TYPE_CHECKING:
    from common.trained.exporting import Order
    from common.trained.loading import TrainedModel
    from common.trained.measuring import Measured

_USUAL_IMAGES = 2000


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the files; must be new or empty.")],
    formats: Annotated[
        str, typer.Option(help="Of torchscript, onnx and torch-export, with commas.")
    ] = "torchscript,onnx,torch-export",
    quantize: Annotated[str | None, typer.Option(help="int8: each file also with int8 weights.")] = None,
    prune: Annotated[
        float | None, typer.Option(help="Each file also without this share of its weights, such as 0.5.")
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder with test/<class>/ of public images; by default the run's.")
    ] = None,
    images: Annotated[int, typer.Option(help="Most test images that each file is run on; 0 for all.")] = (
        _USUAL_IMAGES
    ),
    weights: WeightsOption = None,
) -> None:
    """Write a run's model for other programs, and hold every file against the original.

    The files take uint8 images of the model's size and hold front and normalisation. The table goes to the
    screen, to export.json and to export.md.

    Exit status: 0 every file computes what the model does, 2 a mistake, or a file that does not.
    """
    if images < 0:
        raise ConfigError(f"--images {images} is not permitted: give a whole number at least 1, or 0 for all")
    order = _order(formats, quantize, prune)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out} is not an empty folder: choose one that is new or empty")
    import torch

    from common.trained.loading import load_trained

    trained = load_trained(run, torch.device("cpu"), weights=weights)
    _export(trained, order, out, data_dir, images)


def _order(formats: str, quantize: str | None, prune: float | None) -> Order:
    if quantize not in (None, "int8"):
        raise ConfigError(f"--quantize {quantize!r} is not known: give int8")
    if prune is not None and not 0 < prune < 1:
        raise ConfigError(f"--prune {prune} is not permitted: give a share above 0 and below 1, such as 0.5")
    from common.names import require_known
    from common.trained.exporting import Order  # torch takes seconds; --help needs none
    from common.trained.formats import FORMATS

    names = dict.fromkeys(require_known("format", name.strip(), FORMATS) for name in formats.split(","))
    for name in names:
        FORMATS[name].require()
    return Order(formats=tuple(names), int8=quantize is not None, prune=prune)


def _export(trained: TrainedModel, order: Order, out: Path, data_dir: Path | None, images: int) -> None:
    from common.run_folder import write_atomically
    from common.trained.export_table import as_markdown, as_record, head_line
    from common.trained.exporting import test_images, write_files
    from common.trained.provenance import describe

    test = test_images(trained, data_dir, images)
    typer.echo(head_line())
    done = write_files(trained, order, out, test, _show)
    about = describe(trained, done.standing)
    record = json.dumps(as_record(done, about), indent=1, ensure_ascii=False, allow_nan=False)
    write_atomically(out / "export.json", record.encode() + b"\n")
    write_atomically(out / "export.md", as_markdown(done, about).encode())
    typer.echo(f"\n{done.standing.verdict}.\nOn {done.num_images:,} public test images. Files: {out}")


def _show(row: Measured) -> None:
    from common.trained.export_table import row_line

    typer.echo(row_line(row))
