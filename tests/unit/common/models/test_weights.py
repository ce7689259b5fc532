from __future__ import annotations

import numpy as np
import pytest
import torch

from common.arrays import digest
from common.errors import ConfigError
from common.models import MODELS, build_model, initial_arrays, load_arrays, model_arrays


@pytest.mark.parametrize("name", MODELS)
def test_arrays_survive_the_way_into_a_model_and_back(name: str) -> None:
    arrays = {key: value + 1 for key, value in initial_arrays(name, num_classes=10, seed=0).items()}
    model = build_model(name, num_classes=10)
    assert digest(model_arrays(model)) != digest(arrays)
    load_arrays(model, arrays)
    assert digest(model_arrays(model)) == digest(arrays)
    assert all(array.dtype == np.float32 for array in arrays.values())


def test_the_seed_decides() -> None:
    first, again, other = (digest(initial_arrays("cnn", num_classes=10, seed=seed)) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_the_global_random_state_neither_matters_nor_moves() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = digest(initial_arrays("cnn", num_classes=10, seed=0))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert digest(initial_arrays("cnn", num_classes=10, seed=0)) == first


def test_arrays_and_model_share_no_memory() -> None:
    model = build_model("cnn", num_classes=10)
    arrays = model_arrays(model)
    arrays["fc3.bias"][:] = 7.0
    assert not torch.any(model.get_parameter("fc3.bias") == 7.0)
    load_arrays(model, arrays)
    arrays["fc3.bias"][:] = 8.0
    assert torch.all(model.get_parameter("fc3.bias") == 7.0)


def test_a_wrong_shape_is_named_and_nothing_is_copied() -> None:
    model = build_model("cnn", num_classes=10)
    before = digest(model_arrays(model))
    with pytest.raises(ConfigError, match=r"'fc3.weight' has shape \(100, 84\), not \(10, 84\)"):
        load_arrays(model, initial_arrays("cnn", num_classes=100, seed=0))
    assert digest(model_arrays(model)) == before


def test_a_missing_or_needless_array_is_named() -> None:
    model = build_model("cnn", num_classes=10)
    arrays = model_arrays(model)
    with pytest.raises(ConfigError, match="the model lacks 'extra'"):
        load_arrays(model, {**arrays, "extra": np.zeros(1, np.float32)})
    del arrays["conv1.bias"]
    with pytest.raises(ConfigError, match=r"the arrays lack 'conv1\.bias'"):
        load_arrays(model, arrays)
