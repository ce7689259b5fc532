"""Which pixels a prediction rests on, by methods of Captum."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.errors import ConfigError
from common.names import require_known
from common.trained.extras import require_extra
from common.trained.loading import TrainedModel
from common.trained.whole import WholeModel, has_whole, whole_model

_GREY = 127.5
"""The pixel that says nothing: in the middle of the scale, and zero where pixels are normalised."""

_STEPS, _STEPS_AT_A_TIME = 50, 10
_WINDOWS = 8
"""Windows of occlusion across an image, which overlap by half."""

Method = Callable[["Explained", Tensor, int], Tensor]
"""(model, pixels float32 [1, 3, height, width], class) to relevance, float32 [height, width]."""


@dataclass(frozen=True, kw_only=True)
class Explained:
    """A model in the forms that methods need.

    Args:
        scores: pixels [batch, 3, height, width] to scores [batch, classes].
        module: the same, where gradients can reach the pixels.
        last_convolution: of what was trained, or else of its backbone, if there is one.
    """

    scores: Callable[[Tensor], Tensor]
    module: WholeModel | None
    last_convolution: nn.Module | None


def explained(trained: TrainedModel) -> Explained:
    """Return a run's model in the forms that methods need.

    Raises:
        ConfigError: when Captum is not installed.
    """
    require_extra("explain", ["captum"])
    module = whole_model(trained) if has_whole(trained.spec) else None
    prepare = trained.preparation()

    def scores(pixels: Tensor) -> Tensor:
        answers: Tensor = trained.network(prepare(pixels.round().to(torch.uint8)))
        return answers

    layers = (module or trained.network).modules()
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    return Explained(
        scores=module or scores, module=module, last_convolution=convolutions[-1] if convolutions else None
    )


def saliency(model: Explained, pixels: Tensor, label: int) -> Tensor:
    """Return how fast the class's score changes with each pixel. Source: Simonyan et al. 2014."""
    from captum.attr import Saliency

    relevance: Tensor = Saliency(model.module).attribute(pixels.requires_grad_(), target=label)
    return relevance.abs().amax(dim=1)[0]


def integrated_gradients(model: Explained, pixels: Tensor, label: int) -> Tensor:
    """Return each pixel's part in the score's distance from a grey image's. Source: Sundararajan 2017."""
    from captum.attr import IntegratedGradients

    relevance: Tensor = IntegratedGradients(model.module).attribute(
        pixels,
        baselines=torch.full_like(pixels, _GREY),
        target=label,
        n_steps=_STEPS,
        internal_batch_size=_STEPS_AT_A_TIME,
    )
    return relevance.sum(dim=1)[0].abs()


def grad_cam(model: Explained, pixels: Tensor, label: int) -> Tensor:
    """Return where the last convolution found what speaks for the class. Source: Selvaraju et al. 2017."""
    from captum.attr import LayerAttribution, LayerGradCam

    cam = LayerGradCam(model.module, model.last_convolution)
    relevance = cam.attribute(pixels.requires_grad_(), target=label, relu_attributions=True)
    size = (pixels.shape[2], pixels.shape[3])
    larger: Tensor = LayerAttribution.interpolate(relevance.detach(), size, interpolate_mode="bilinear")
    return larger[0, 0]


def occlusion(model: Explained, pixels: Tensor, label: int) -> Tensor:
    """Return how far the score falls where a grey window hides the image. Source: Zeiler, Fergus 2014."""
    from captum.attr import Occlusion

    side = max(2, 2 * pixels.shape[-1] // (_WINDOWS + 1))
    with torch.no_grad():
        relevance: Tensor = Occlusion(model.scores).attribute(
            pixels,
            sliding_window_shapes=(3, side, side),
            strides=(3, side // 2, side // 2),
            baselines=_GREY,
            target=label,
        )
    return relevance.mean(dim=1)[0].clamp(min=0)


METHODS: dict[str, Method] = {
    "saliency": saliency,
    "integrated-gradients": integrated_gradients,
    "grad-cam": grad_cam,
    "occlusion": occlusion,
}
USUAL = ("saliency", "integrated-gradients", "grad-cam")
_BY_GRADIENT = frozenset(USUAL)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The methods that a model can be explained by, of those that were asked for.

    Args:
        names: of `METHODS`.
        remarks: one sentence for each that was left out, or put in its place.
    """

    names: tuple[str, ...]
    remarks: tuple[str, ...]


def choose_methods(wanted: tuple[str, ...], model: Explained, name: str) -> Choice:
    """Leave out what cannot be done with a model.

    Args:
        wanted: names of methods.
        model: what is to be explained.
        name: the model's, for the remarks.

    Raises:
        ConfigError: when a method is unknown, or none is left.
    """
    names = [require_known("method", one, METHODS) for one in wanted]
    remarks = []
    if model.module is None and _BY_GRADIENT & set(names):
        names = [*(one for one in names if one not in _BY_GRADIENT and one != "occlusion"), "occlusion"]
        remarks.append(f"no gradient passes the front of {name}: occlusion stands in its place")
    if model.last_convolution is None and "grad-cam" in names:
        names.remove("grad-cam")
        remarks.append(f"grad-cam is left out: {name} has no convolution")
    if not names:
        raise ConfigError(f"{remarks[-1]}; choose --methods saliency, integrated-gradients or occlusion")
    return Choice(names=tuple(dict.fromkeys(names)), remarks=tuple(remarks))


def heat(relevance: Tensor) -> Tensor:
    """Scale relevance to [0, 1]; the strongest hundredth of the pixels counts as 1."""
    relevance = relevance.detach().float().cpu().clamp(min=0)
    strongest = torch.quantile(relevance.flatten(), 0.99)
    top = strongest if strongest > 0 else relevance.max()
    return relevance / top.clamp(min=torch.finfo(torch.float32).tiny) if top > 0 else relevance


def heat_maps(model: Explained, pixels: Tensor, label: int, names: tuple[str, ...]) -> tuple[Tensor, ...]:
    """Return one map a method, float32 [height, width] in [0, 1].

    Args:
        model: what is explained.
        pixels: uint8 [3, height, width], on the model's device.
        label: the class whose score is explained.
        names: of `METHODS`.
    """
    image = pixels.float()[None]
    return tuple(heat(METHODS[name](model, image.clone(), label)).clamp(max=1) for name in names)
