"""Patch features against their definition, record by record."""

from __future__ import annotations

import json

import pytest
import torch
from torch import Tensor

from common.errors import ConfigError
from common.models.patches import bank as bank_module
from common.models.patches.bank import BANK_FILE, load_bank, write_bank
from common.models.patches.features import BIAS, PatchBank, patch_features, pooled_responses
from common.models.patches.front import PATCHES


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Return uint8 [9, 3, 32, 32], the last of one colour."""
    drawn = torch.randint(
        0, 256, (9, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    drawn[-1] = 77
    return drawn


def small_bank() -> PatchBank:
    generator = torch.Generator().manual_seed(1)
    filters = torch.randn(4, 3, 6, 6, generator=generator)
    return PatchBank(
        filters=filters - filters.mean(dim=(1, 2, 3), keepdim=True),
        offsets=torch.rand(4, generator=generator),
        contrast=0.01,
        parts=3,
        means=torch.randn(4, 3, 3, generator=generator),
        deviations=torch.rand(4, 3, 3, generator=generator) + 0.5,
        whitening=torch.eye(4) + 0.1,
    )


def by_definition(image: Tensor, bank: PatchBank) -> Tensor:
    """Compute one image's averages patch by patch, in float64."""
    pixels = image.double() / 255
    sums = torch.zeros(len(bank.filters), 3, 3, dtype=torch.float64)
    for row in range(27):
        for column in range(27):
            patch = pixels[:, row : row + 6, column : column + 6]
            patch = (patch - patch.mean()) / (patch.var() + bank.contrast).sqrt()
            straight = (bank.filters.double() * patch).sum(dim=(1, 2, 3)) - bank.offsets
            mirrored = (bank.filters.double() * patch.flip(-1)).sum(dim=(1, 2, 3)) - bank.offsets
            sums[:, row // 9, column // 9] += straight.relu()
            sums[:, row // 9, 2 - column // 9] += mirrored.relu()
    return sums / 81


def test_averages_are_those_of_the_definition(images: Tensor) -> None:
    bank = small_bank()
    expected = torch.stack([by_definition(image, bank) for image in (images[0], images[-1])])
    found = pooled_responses(images[[0, -1]], bank).double()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_averages_are_standardised_whitened_and_brought_to_norm_1(images: Tensor) -> None:
    bank = small_bank()
    standard = (pooled_responses(images, bank) - bank.means) / bank.deviations
    white = (bank.whitening @ standard.flatten(2)).flatten(1)
    found = patch_features(images, bank)
    torch.testing.assert_close(found[:, :-1], white / white.norm(dim=1, keepdim=True))
    assert (found[:, -1] == BIAS).all()


def test_an_image_and_its_mirror_image_are_alike(images: Tensor) -> None:
    bank = load_bank()
    torch.testing.assert_close(patch_features(images, bank), patch_features(images.flip(-1), bank))


def test_a_records_features_depend_on_no_other_record(images: Tensor) -> None:
    bank = load_bank()
    together = patch_features(images, bank)
    for number in range(len(images)):
        alone = patch_features(images[number : number + 1], bank)[0]
        torch.testing.assert_close(alone, together[number], rtol=1e-4, atol=1e-5)


def test_no_image_gives_no_features() -> None:
    nothing = torch.empty(0, 3, 32, 32, dtype=torch.uint8)
    assert patch_features(nothing, load_bank()).shape == (0, load_bank().size)


def test_features_are_finite_and_of_the_shape_that_the_front_names(images: Tensor) -> None:
    found = PATCHES.build(torch.device("cpu"))(images)
    assert tuple(found.shape[1:]) == PATCHES.output_shape == (load_bank().size,)
    assert found.isfinite().all()


def test_constants_survive_writing_and_reading(tmp_path) -> None:
    path = tmp_path / "bank.json"
    write_bank(load_bank(), path)
    assert path.read_bytes() == BANK_FILE.read_bytes()


def test_a_changed_file_is_refused(tmp_path, monkeypatch) -> None:
    content = json.loads(BANK_FILE.read_text())
    (tmp_path / "bank.json").write_text(json.dumps(content | {"contrast": 1.0}))
    monkeypatch.setattr(bank_module, "BANK_FILE", tmp_path / "bank.json")
    load_bank.cache_clear()
    with pytest.raises(ConfigError, match="is not the one of this version"):
        load_bank()
    load_bank.cache_clear()
