"""Features in place of images: computed once, kept, flipped, cached."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from common.config import ModelSettings
from common.data import BatchTransform, ImageData, features
from common.data.features import FeatureTransform, Preparation, compute_features
from common.data.synthetic import draw_images
from common.errors import ConfigError
from common.models.front import Front
from common.models.scattering.front import SCATTERING

CPU = torch.device("cpu")
LINEAR = {"model": ModelSettings(name="scatter-linear"), "device": CPU}


@pytest.fixture(scope="module")
def data() -> ImageData:
    return draw_images(150, np.random.default_rng(0))


def doubled(version: str = "doubled/1") -> Front:
    """A front whose features are easy to foretell."""
    return Front(
        version=version, output_shape=(3, 32, 32), build=lambda _device: lambda images: images.float() * 2
    )


def test_features_are_what_the_front_computes_of_each_image(data: ImageData) -> None:
    computed = compute_features(data.images, SCATTERING, device=CPU, views=2)
    front = SCATTERING.build(CPU)
    assert computed.shape == (150, 2, 243, 8, 8)
    assert computed.dtype == torch.float16
    assert torch.allclose(computed[:, 0].float(), front(data.images), atol=2e-3, rtol=1e-3)
    assert torch.allclose(computed[:, 1].float(), front(data.images.flip(-1)), atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("workers", [2, 4])
def test_the_number_of_threads_changes_no_bit(data: ImageData, workers: int) -> None:
    one = compute_features(data.images, SCATTERING, device=CPU)
    assert torch.equal(compute_features(data.images, SCATTERING, device=CPU, workers=workers), one)


def test_a_feature_too_large_for_its_form_stays_finite() -> None:
    front = Front(version="large", output_shape=(1,), build=lambda _: lambda images: torch.full((2, 1), 1e9))
    assert compute_features(torch.zeros(2, 3, 4, 4), front, device=CPU).isfinite().all()


def test_the_log_says_how_far_it_is(data: ImageData, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="fedledger.features"):
        compute_features(data.images, doubled(), device=CPU)
    assert "computing the features of 150 images once (doubled/1)" in caplog.messages
    assert sum(getattr(record, "images", 0) for record in caplog.records) == 150


def test_flipping_takes_one_image_in_two_from_its_mirror(data: ImageData) -> None:
    inputs = compute_features(data.images, doubled(), device=CPU, views=2)
    transform = FeatureTransform()
    generator = torch.Generator().manual_seed(0)
    batch = transform(inputs, generator)
    plain, mirrored = data.images.float() * 2, data.images.flip(-1).float() * 2
    flips = [bool((one == mirror).all()) for one, mirror in zip(batch, mirrored, strict=True)]
    assert 45 < sum(flips) < 105
    for one, flip, straight, mirror in zip(batch, flips, plain, mirrored, strict=True):
        assert torch.equal(one, mirror if flip else straight)
    in_parts = torch.Generator().manual_seed(0)
    parts = [transform(part, in_parts) for part in torch.split(inputs, 64)]
    assert torch.equal(torch.cat(parts), batch), "pieces are augmented like the whole"
    assert torch.equal(transform(inputs, None), plain), "evaluation sees images as they are"


def test_without_flips_there_is_one_view_and_nothing_to_choose(data: ImageData) -> None:
    inputs = compute_features(data.images, doubled(), device=CPU)
    batch = FeatureTransform()(inputs[:7], torch.Generator().manual_seed(0))
    assert torch.equal(batch, data.images[:7].float() * 2)
    assert FeatureTransform()(inputs[:0], torch.Generator()).shape == (0, 3, 32, 32)


def test_images_are_left_alone_where_a_model_has_no_front(data: ImageData) -> None:
    preparation = Preparation(model=ModelSettings(name="cnn"), augmentation="flip-crop", device=CPU)
    assert preparation.records(data) is data
    assert isinstance(preparation.transform(), BatchTransform)


def test_records_keep_labels_and_classes(data: ImageData) -> None:
    records = Preparation(augmentation="flip", **LINEAR).records(data)
    assert records.inputs.shape == (150, 2, 243, 8, 8)
    assert torch.equal(records.labels, data.labels)
    assert (records.classes, len(records)) == (data.classes, 150)


def test_an_augmentation_that_features_cannot_have_is_refused() -> None:
    with pytest.raises(ConfigError, match="--set data.augmentation=flip or none"):
        Preparation(augmentation="flip-crop", **LINEAR)


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images of each computation."""
    counts: list[int] = []
    compute = features.compute_features

    def counted(images: torch.Tensor, *args: object, **settings: object) -> torch.Tensor:
        counts.append(len(images))
        return compute(images, *args, **settings)

    monkeypatch.setattr(features, "compute_features", counted)
    return counts


def test_kept_features_are_computed_once(data: ImageData, computed: list[int], tmp_path: Path) -> None:
    place = tmp_path / "features"
    preparation = Preparation(augmentation="none", cache=str(place), **LINEAR)
    first, again = preparation.records(data), preparation.records(data)
    assert torch.equal(first.inputs, again.inputs)
    assert computed == [150]
    (kept,) = place.iterdir()
    assert (kept.stat().st_mode & 0o777, place.stat().st_mode & 0o777) == (0o600, 0o700)
    preparation.records(data.subset(np.arange(149)))
    Preparation(augmentation="flip", cache=str(place), **LINEAR).records(data)
    assert computed == [150, 149, 150], "other images and other views are other features"
    assert len(list(place.iterdir())) == 3


def test_another_version_of_a_front_has_other_features(
    data: ImageData, computed: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    preparation = Preparation(augmentation="none", cache=str(tmp_path), **LINEAR)
    for version in ("doubled/1", "doubled/2", "doubled/2"):
        monkeypatch.setattr(Preparation, "_front", property(lambda _, version=version: doubled(version)))
        preparation.records(data)
    assert computed == [150, 150]


@pytest.mark.parametrize("damage", [b"", b"no features", None])
def test_damaged_features_are_computed_anew(
    data: ImageData,
    computed: list[int],
    tmp_path: Path,
    damage: bytes | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    preparation = Preparation(augmentation="none", cache=str(tmp_path), **LINEAR)
    first = preparation.records(data).inputs.clone()
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:-10] if damage is None else damage)
    assert torch.equal(preparation.records(data).inputs, first)
    assert computed == [150, 150]
    assert "computed anew" in caplog.text
    assert preparation.records(data) is not None
    assert computed == [150, 150], "and kept again"


def test_a_folder_that_cannot_be_written_stops_nobody(
    data: ImageData, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    preparation = Preparation(augmentation="none", cache=str(tmp_path / "file" / "below"), **LINEAR)
    assert len(preparation.records(data)) == 150
    assert "features cannot be kept" in caplog.text
