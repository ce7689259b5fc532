"""Train a small torchvision network on drawn images: weights to try fine-tuning with where none can be had.

    python -m benchmarks.local_backbone --out resnet18.pth
    fedledger simulate --model finetune:resnet18 --set model.weights=resnet18.pth --set model.image-size=32

Each of a thousand procedurally drawn images is a class of its own, and the network learns to tell which of
them a random part of it, in other colours, was cut from. No photograph takes part, so the weights are far
worse than public ones. Source: Dosovitskiy et al. 2014, "Discriminative Unsupervised Feature Learning with
Exemplar Convolutional Neural Networks".
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import get_model

from benchmarks.procedural_images import draw_images
from common.models.finetune.backbone import Recipe, recipe_of

_CLASSES = 1000
_BATCH = 128
_LEAST_PART, _LARGEST_PART = 0.35, 0.9
"""Of an image's side; the rest is cut away."""
_PEAK_RATE, _WARM_UP = 0.1, 0.1


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Random parts of images, mirrored or not, in other colours.

    Args:
        images: float [n, 3, side, side], from 0 to 1.
        size: height and width in pixels of a part.
        recipe: how the network wants its images.
        generator: chooses.
    """

    images: Tensor
    size: int
    recipe: Recipe
    generator: torch.Generator

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Return parts, normalised, [count, 3, size, size], and which images they are of, int64 [count]."""
        labels = torch.randint(len(self.images), (count,), generator=self.generator)
        parts = self._recoloured(self._cut(self.images[labels]))
        mean, std = (torch.tensor(each).view(3, 1, 1) for each in (self.recipe.mean, self.recipe.std))
        return (parts - mean) / std, labels

    def _uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=self.generator)

    def _cut(self, images: Tensor) -> Tensor:
        count = len(images)
        scale = self._uniform(_LEAST_PART, _LARGEST_PART, count)
        mirror = torch.where(self._uniform(0, 1, count) < 0.5, -1.0, 1.0)
        affine = torch.zeros(count, 2, 3)
        affine[:, 0, 0], affine[:, 1, 1] = scale * mirror, scale
        affine[:, :, 2] = self._uniform(-1, 1, count, 2) * (1 - scale)[:, None]
        grid = functional.affine_grid(affine, [count, 3, self.size, self.size], align_corners=False)
        return functional.grid_sample(images, grid, padding_mode="reflection", align_corners=False)

    def _recoloured(self, parts: Tensor) -> Tensor:
        count = len(parts)
        grey = parts.mean(dim=1, keepdim=True)
        colourful = grey + (parts - grey) * self._uniform(0.0, 1.5, count, 1, 1, 1)
        contrast = self._uniform(0.5, 1.5, count, 1, 1, 1)
        shift = self._uniform(-0.2, 0.2, count, 3, 1, 1)
        return ((colourful - 0.5) * contrast + 0.5 + shift).clamp(0, 1)


def train(network: nn.Module, parts: Parts, *, steps: int) -> None:
    """Train, at a rate that rises over the first tenth and then falls to zero, and print how it goes."""
    optimizer = torch.optim.SGD(network.parameters(), lr=_PEAK_RATE, momentum=0.9, weight_decay=1e-4)
    network.train()
    for step in range(1, steps + 1):
        done = step / (steps + 1)
        optimizer.param_groups[0]["lr"] = _PEAK_RATE * min(done / _WARM_UP, (1 - done) / (1 - _WARM_UP))
        images, labels = parts.draw(_BATCH)
        scores = network(images)
        loss = functional.cross_entropy(scores, labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % 100 == 0:
            right = (scores.argmax(dim=1) == labels).float().mean()
            print(f"step {step} of {steps}: loss {loss.item():.2f}, right {right.item():.0%}", flush=True)


def main() -> None:
    """Write the state dict of a network trained for some minutes."""
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--model", default="resnet18", help="of torchvision")
    arguments.add_argument("--image-size", type=int, default=32)
    arguments.add_argument("--steps", type=int, default=600)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--out", type=Path, required=True)
    options = arguments.parse_args()
    torch.manual_seed(options.seed)
    parts = Parts(
        images=draw_images(_CLASSES, options.seed).float().div_(255),
        size=options.image_size,
        recipe=recipe_of(options.model),
        generator=torch.Generator().manual_seed(options.seed),
    )
    network = get_model(options.model, weights=None, num_classes=_CLASSES)
    train(network, parts, steps=options.steps)
    torch.save(network.state_dict(), options.out)


if __name__ == "__main__":
    main()
