"""Front, normalisation and network as one module, from pixels to scores, that gradients pass."""

from __future__ import annotations

from torch import Tensor, nn

from common.data.transforms import MEAN, STD
from common.models import ModelSpec
from common.trained.loading import TrainedModel


class WholeModel(nn.Module):
    """Compute scores of images as they lie in a file.

    Args:
        prepare: float32 pixels [batch, 3, height, width], 0 to 255, to the network's input.
        network: what was trained.
    """

    def __init__(self, prepare: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.prepare = prepare
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 [batch, classes] for uint8 or float32 images [batch, 3, height, width], 0 to 255."""
        scores: Tensor = self.network(self.prepare(images.float()))
        return scores


class Normalise(nn.Module):
    """Scale pixels as in training."""

    def forward(self, images: Tensor) -> Tensor:
        """Return float32 in [-2, 2] for pixels from 0 to 255."""
        return images / (255 * STD) - MEAN / STD


def has_whole(spec: ModelSpec) -> bool:
    """Say whether gradients can reach a model's pixels: its front, if it has one, may be a mere function."""
    return spec.front is None or spec.front.module is not None


def whole_model(trained: TrainedModel) -> WholeModel:
    """Build the module of a run's model, on the model's device; `has_whole` says whether there is one."""
    front = trained.spec.front
    prepare = Normalise() if front is None or front.module is None else front.module()
    return WholeModel(prepare, trained.network).to(trained.device).eval()
