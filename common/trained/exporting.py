"""A run's model as files for other programs, each held against the original before anyone relies on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common.data import ImageData
from common.data.folder import load_public
from common.data.shares import public_images_of
from common.errors import ConfigError, DataError
from common.trained.agreement import require_equal
from common.trained.classes import in_order_of
from common.trained.compression import pruned, quantised
from common.trained.formats import FORMATS
from common.trained.loading import TrainedModel
from common.trained.measuring import Answers, Measured, answers_of, measure
from common.trained.predicting import scores_of
from common.trained.provenance import Standing, describe, standing_of
from common.trained.whole import WholeModel, has_whole, whole_model


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be written.

    Args:
        formats: names of `FORMATS`.
        int8: whether there are variants with int8 weights.
        prune: share of the weights that further variants lack, or None.
    """

    formats: tuple[str, ...]
    int8: bool = False
    prune: float | None = None


@dataclass(frozen=True, kw_only=True)
class Export:
    """What was written.

    Args:
        standing: what the run's audit says, and every file with it.
        num_images: public test images on which the files were run.
        rows: the original first, then each file.
    """

    standing: Standing
    num_images: int
    rows: tuple[Measured, ...]


def test_images(trained: TrainedModel, data_dir: Path | None, most: int) -> ImageData:
    """Load public test images: of another folder, or those of the run; private ones are left alone.

    Args:
        trained: whose classes they must have.
        data_dir: holds test/<class>/*; None for the run's own.
        most: how many are taken, evenly over all of them; 0 for all.

    Raises:
        DataError: when there are none, or their classes are not the model's.
    """
    data = trained.config.data
    place = Path(data.data_dir).expanduser() if data_dir is None else data_dir
    given = data_dir is not None or data.dataset == "folder"
    if given and (place / "test").is_dir():
        images = load_public(place, image_size=trained.spec.image_size)
    elif data_dir is not None:
        raise DataError(f"--data-dir {data_dir} has no test/ inside: put images in DIR/test/<class>/")
    else:
        images = public_images_of(trained.config)
    count = len(images) if most == 0 else min(most, len(images))
    chosen = images.subset(torch.linspace(0, len(images) - 1, count).round().long().numpy())
    return in_order_of(trained.classes, chosen, whose="the test images", way_out="give --data-dir DIR")


def write_files(
    trained: TrainedModel, order: Order, folder: Path, test: ImageData, tell: Callable[[Measured], None]
) -> Export:
    """Write a run's model in every format and variant that is wanted, and measure each.

    Args:
        trained: the model, on the CPU.
        order: what is wanted.
        folder: where it goes; made if need be.
        test: public images.
        tell: is told every line of the table as it is found.

    Raises:
        ConfigError: when the model cannot be exported.
        ExportFailed: when a file does not compute what it was made of; it is not kept.
    """
    if not has_whole(trained.spec):
        raise ConfigError(
            f"the front of {trained.spec.name} cannot be exported: predict works with it all the same"
        )
    folder.mkdir(parents=True, exist_ok=True)
    standing = standing_of(trained.folder)
    original = answers_of(lambda images: scores_of(trained, images), test.images)
    data = trained.folder.model.read_bytes()
    rows = [measure("original", "", data, original, original, test)]
    tell(rows[0])
    about = describe(trained, standing)
    for variant in _variants(whole_model(trained), order):
        for row in _write_variant(variant, order.formats, folder, about, original, test):
            rows.append(row)
            tell(row)
    return Export(standing=standing, num_images=len(test), rows=tuple(rows))


@dataclass(frozen=True, kw_only=True)
class _Variant:
    """One form of the model: its module, and what its name and files have added."""

    module: WholeModel
    words: tuple[str, ...] = ()
    stem: str = "model"


def _variants(whole: WholeModel, order: Order) -> Iterator[_Variant]:
    plain = _Variant(module=whole)
    forms = [plain]
    if order.prune is not None:
        percent = f"{100 * order.prune:g}"
        forms.append(
            _Variant(
                module=pruned(whole, order.prune),
                words=(f"{percent} % pruned",),
                stem=f"model-pruned-{percent}",
            )
        )
    for form in forms:
        yield form
        if order.int8:
            smaller = quantised(form.module)
            yield _Variant(module=smaller, words=(*form.words, "int8 weights"), stem=f"{form.stem}-int8")


def _write_variant(
    variant: _Variant,
    formats: tuple[str, ...],
    folder: Path,
    about: dict[str, Any],
    original: Answers,
    test: ImageData,
) -> Iterator[Measured]:
    expected = answers_of(variant.module, test.images).scores
    if not variant.words:
        require_equal(
            "the exported form of the model", original.scores, variant.module, test.images, expected
        )
    for name in formats:
        path = folder / f"{variant.stem}{FORMATS[name].suffix}"
        words = ", ".join((name, *variant.words))
        metadata = json.dumps(about | {"variant": words}, ensure_ascii=False, allow_nan=False)
        answers = _write_and_run(variant.module, name, path, metadata, test.images, expected)
        yield measure(words, path.name, path.read_bytes(), answers, original, test)


def _write_and_run(
    module: WholeModel, name: str, path: Path, metadata: str, images: Tensor, expected: Tensor
) -> Answers:
    """Write one file, read it back, and keep it only if it computes what its module does.

    Privacy: a format may keep the example that it was traced with, so that is blank and never an image.
    """
    kind = FORMATS[name]
    try:
        kind.write(module, torch.zeros_like(images[:2]), metadata, path)
        answers = answers_of(kind.load(path), images)
        require_equal(path.name, answers.scores, module, images, expected)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return answers
