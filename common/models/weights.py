"""A model's parameters as named arrays, and back."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from common.arrays import Arrays
from common.errors import ConfigError
from common.models.registry import build_model
from common.streams import stream_seed


def initial_arrays(name: str, *, num_classes: int, seed: int) -> Arrays:
    """Initialise a model from the run's seed, leaving torch's random state as it was.

    Raises:
        ConfigError: the name is unknown.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(seed, "model/initial"))
        return model_arrays(build_model(name, num_classes=num_classes))


def model_arrays(model: nn.Module) -> Arrays:
    """Copy a model's parameters to float32 arrays."""
    return {name: value.copy() for name, value in values_of(model).items()}


def values_of(model: nn.Module) -> Arrays:
    """Return a model's parameters as float32 arrays, which on a CPU are its own memory and change with it."""
    return {name: value.to("cpu", torch.float32).numpy() for name, value in model.state_dict().items()}


def refuse_misfit(model: nn.Module, arrays: Arrays) -> None:
    """Refuse arrays that are not this model's.

    Raises:
        ConfigError: a name or shape differs from the model's.
    """
    state = model.state_dict()
    unmatched = sorted(state.keys() ^ arrays.keys())
    if unmatched:
        where = "the model lacks" if unmatched[0] in arrays else "the arrays lack"
        raise ConfigError(f"the arrays do not fit the model: {where} {unmatched[0]!r}; choose the same model")
    for name, value in state.items():
        if arrays[name].shape != tuple(value.shape):
            raise ConfigError(
                f"the arrays do not fit the model: {name!r} has shape {arrays[name].shape}, not "
                f"{tuple(value.shape)}; choose the same model and classes"
            )


def load_arrays(model: nn.Module, arrays: Arrays) -> None:
    """Copy arrays into a model's parameters, on whatever device it is.

    Raises:
        ConfigError: a name or shape differs from the model's; nothing has been copied then.
    """
    refuse_misfit(model, arrays)
    for name, value in model.state_dict().items():
        if value.is_cpu and value.dtype == torch.float32:
            np.copyto(value.numpy(), arrays[name])
        else:
            value.copy_(torch.tensor(arrays[name]))
