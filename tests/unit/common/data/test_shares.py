"""A run's images and their division, the same for everybody who asks."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from common.data.shares import public_images_of, shares_of, split_of
from common.errors import DataError


def test_shares_are_disjoint_and_together_everything(tiny_settings):
    config = tiny_settings(changes={"federation.num-clients": 5})
    shares = shares_of(config)
    assert len(shares) == 5
    together = np.sort(np.concatenate(shares))
    np.testing.assert_array_equal(together, np.arange(48))
    assert len(split_of(config).train) == 48
    assert len(split_of(config).test) == 10


def test_who_only_evaluates_needs_no_training_images(tiny_settings, tiny_images, tmp_path):
    whole = public_images_of(tiny_settings())
    shutil.copytree(tiny_images / "test", tmp_path / "public" / "test")
    alone = public_images_of(tiny_settings(changes={"data.data-dir": str(tmp_path / "public")}))
    assert alone.images.equal(whole.images)
    assert (alone.labels.tolist(), alone.classes) == (whole.labels.tolist(), whole.classes)
    shutil.copytree(tiny_images / "train", tmp_path / "records" / "train")
    held_out = public_images_of(tiny_settings(changes={"data.data-dir": str(tmp_path / "records")}))
    assert len(held_out) == 4
    with pytest.raises(DataError, match="has no train/ inside"):
        public_images_of(tiny_settings(changes={"data.data-dir": str(tmp_path)}))


def test_images_are_loaded_once(tiny_settings):
    config = tiny_settings()
    first = split_of(config)
    assert split_of(tiny_settings("another", {"training.local-steps": 3})) is first
    assert shares_of(config) is shares_of(tiny_settings("another"))


@pytest.mark.parametrize(
    "changes",
    [
        {"runtime.seed": 1},
        {"federation.num-clients": 3},
        {"data.partitioner": "dirichlet"},
        {"data.partitioner": "quantity-skew", "data.alpha": 2.0},
        {"data.partitioner": "pathological", "data.classes-per-client": 1},
    ],
)
def test_each_setting_of_the_division_has_its_effect(tiny_settings, changes):
    plain = [share.tolist() for share in shares_of(tiny_settings())]
    changed = [share.tolist() for share in shares_of(tiny_settings(changes=changes))]
    assert changed != plain
    assert [share.tolist() for share in shares_of(tiny_settings())] == plain, "and no lasting one"


def test_alpha_and_classes_per_client_reach_the_division(tiny_settings):
    one = tiny_settings(changes={"data.partitioner": "pathological", "data.classes-per-client": 1})
    labels = split_of(one).train.labels.numpy()
    assert [set(labels[share]) for share in shares_of(one)] in ([{0}, {1}], [{1}, {0}])
    skew = [
        np.ptp([len(s) for s in shares_of(tiny_settings(changes=changes))])
        for changes in (
            {"data.partitioner": "quantity-skew", "data.alpha": 1000.0},
            {"data.partitioner": "quantity-skew", "data.alpha": 0.2},
        )
    ]
    assert skew[0] < skew[1]


def test_too_few_records_for_a_client_are_refused(tiny_settings):
    with pytest.raises(DataError):
        shares_of(tiny_settings(changes={"federation.num-clients": 10, "data.min-partition-size": 10}))


def test_images_have_the_models_size(tiny_settings):
    assert split_of(tiny_settings()).train.images.shape[-2:] == (32, 32)
