"""The weights of a backbone: torchvision's public ones, or those of a file; never a program."""

from __future__ import annotations

import pickle
import re
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from common.arrays import digest
from common.downloads import impatient
from common.errors import ConfigError, WeightsError
from common.models.finetune.backbone import PREFIX, Skeleton, check_image_size, recipe_of, skeleton_of

PUBLIC = "auto"
"""Stands for torchvision's default weights."""

_COUNTER = "num_batches_tracked"  # of training alone
_TRAINING_ALONE = ("aux1.", "aux2.", "AuxLogits.")
_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|conv))\.([12]\..*)")


class Backbone:
    """A frozen network with its weights.

    Args:
        network: float32 [batch, 3, height, width], normalised, to [batch, features]; in evaluation mode.
        digest: SHA-256 (hex) of its weights as float32, the last layer's left out: whatever file they come
            from, equal weights have equal digests.
    """

    def __init__(self, network: nn.Module, digest: str) -> None:
        self.network = network
        self.digest = digest


@lru_cache(maxsize=1)
def load_backbone(name: str, weights: str) -> Backbone:
    """Load a backbone, once a process.

    Args:
        name: torchvision's.
        weights: a file, or "auto" for torchvision's default weights.

    Raises:
        WeightsError: when the weights cannot be had, are of another network, or mix the records of a batch.
    """
    state = _download(name) if weights == PUBLIC else _read(name, Path(weights).expanduser())
    source = f"torchvision's weights of {name}" if weights == PUBLIC else f"model.weights = {weights!r}"
    skeleton = skeleton_of(name)
    fitted = _fitted(skeleton, _modern(name, state), f"{source}: not the weights of {name}")
    counters = {key: torch.tensor(0) for key in skeleton.network.state_dict() if key.endswith(_COUNTER)}
    skeleton.network.load_state_dict(fitted | counters, assign=True)
    network = skeleton.network.eval().requires_grad_(False)
    refuse_mixing(network, check_image_size(name, recipe_of(name).image_size))
    return Backbone(network, digest({key: value.numpy() for key, value in fitted.items()}))


@torch.inference_mode()
def refuse_mixing(network: nn.Module, image_size: int) -> None:
    """Refuse a network in which a record's features depend on what else is in its batch, or are not finite.

    Privacy: clipping a record's gradient bounds that record's influence only if no other record's features
    hold anything of it.

    Raises:
        WeightsError: when they do.
    """
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randn(2, 3, image_size, image_size, generator=generator)
    together, alone = network(pixels), torch.cat([network(one[None]) for one in pixels])
    if not together.isfinite().all():
        raise WeightsError("the weights give features that are not finite: give others with model.weights")
    if not torch.allclose(together, alone, rtol=1e-3, atol=1e-3 * float(alone.abs().max())):
        raise WeightsError(
            "the backbone mixes the records of a batch, so no noise covers them: choose another"
        )


def _download(name: str) -> dict[str, Any]:
    from torchvision.models import get_model_weights

    public = get_model_weights(name).DEFAULT
    try:
        with impatient():
            state: dict[str, Any] = public.get_state_dict(
                progress=False, check_hash=True, weights_only=True, map_location="cpu"
            )
    except (OSError, RuntimeError, HTTPException, pickle.UnpicklingError) as error:
        raise WeightsError(
            f"torchvision's weights of {name} are not on this machine and could not be downloaded "
            f"({type(error).__name__}): fetch {public.url} elsewhere, then --set model.weights=FILE"
        ) from None
    return state


def _read(name: str, path: Path) -> dict[str, Any]:
    """Read a state dict; a pickle may hold tensors and nothing else, so that no file can run a program."""
    named = f"model.weights = {str(path)!r}"
    if not path.is_file():
        raise WeightsError(
            f'{named} is not a file: give the weights of {name} (.pth or .safetensors), or "auto" for '
            "torchvision's own"
        )
    try:
        state: object = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except Exception as error:  # noqa: BLE001 - whatever bytes it holds, torch has an error of its own
        raise WeightsError(
            f"{named} cannot be read as a state dict ({type(error).__name__}): write it anew with "
            "torch.save(model.state_dict(), FILE)"
        ) from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(
            f"{named} does not hold a state dict alone: write one with torch.save(model.state_dict(), FILE)"
        )
    return state


def _modern(name: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict with today's names; densenet's published weights have those of 2017."""
    if not name.startswith("densenet"):
        return state
    return {_OLD_DENSENET.sub(r"\1\2", key): value for key, value in state.items()}


def _fitted(skeleton: Skeleton, state: dict[str, Tensor], complaint: str) -> dict[str, Tensor]:
    """Return the tensors that a backbone needs, as float32, and refuse any that it does not know."""
    expected = {k: v for k, v in skeleton.network.state_dict().items() if not k.endswith(_COUNTER)}
    given = {k: v for k, v in state.items() if not _is_left_out(k, skeleton.head)}
    way_out = "give a file written for it, --set model.weights=FILE"
    if unmatched := sorted(expected.keys() ^ given.keys()):
        what = "holds an unknown" if unmatched[0] in given else "lacks"
        raise WeightsError(f"{complaint}, it {what} {unmatched[0][:80]!r}; {way_out}")
    for key, wanted in expected.items():
        if given[key].shape != wanted.shape:
            shapes = f"{tuple(given[key].shape)}, not {tuple(wanted.shape)}"
            raise WeightsError(f"{complaint}, {key!r} has shape {shapes}; {way_out}")
    return {key: given[key].detach().to(torch.float32).contiguous() for key in expected}


def _is_left_out(key: str, head: str) -> bool:
    return key.endswith(_COUNTER) or key.startswith((f"{head}.", *_TRAINING_ALONE))


def is_pinned(digest_setting: str) -> bool:
    """Say whether `model.weights-digest` names weights."""
    return digest_setting != PUBLIC


def require_digest(backbone: Backbone, name: str, wanted: str) -> None:
    """Refuse weights that are not the run's.

    Raises:
        ConfigError: naming both digests.
    """
    if backbone.digest != wanted:
        raise ConfigError(
            f"the weights of {PREFIX}{name} here have the digest {backbone.digest[:16]}..., the run's have "
            f"{wanted[:16]}...: give the run's own file (model.weights, or --weights)"
        )
