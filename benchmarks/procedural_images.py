"""Images that no camera took, with the statistics of those that one did: textured leaves over each other.

What public constants of features are made of, so that no private record takes part in them. Leaves of four
shapes, with sizes of a power law, soft or sharp edges, shading, and textures of noise whose amplitude falls
with a power of frequency; luminance varies most, then blue against yellow, then red against green.
Source: Lee, Mumford and Huang 2001, "Occlusion Models for Natural Images"; Ruderman, Cronin and Chiao 1998,
"Statistics of cone responses to natural images"; Baradad et al. 2021, "Learning to See by Looking at Noise".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

IMAGE_SIZE = 32
_CANVAS = 64  # drawn at twice the size and averaged, so that edges have no steps
_BATCH = 100
_MOST_LEAVES = 30
_TEXTURES = 4
_BRIGHTNESS = 0.47
_COLOURS = ((0.58, 0.58, 0.58), (0.71, 0.0, -0.71), (0.41, -0.82, 0.41))
"""Luminance, blue-yellow and red-green, as directions of red, green and blue."""
_COLOUR_SPREADS = (0.43, 0.14, 0.07)
_TEXTURE_SPREADS = (1.0, 0.35, 0.2)


def draw_images(count: int, seed: int) -> Tensor:
    """Draw images, uint8 [count, 3, 32, 32]; equal seeds give equal images.

    Args:
        count: a multiple of 100.
        seed: of the generator.
    """
    artist = _Artist(generator=torch.Generator().manual_seed(seed), batch=_BATCH)
    return torch.cat([artist.draw() for _ in range(count // _BATCH)])


@dataclass(frozen=True, kw_only=True)
class _Artist:
    """Draws a batch of images at a time."""

    generator: torch.Generator
    batch: int

    def draw(self) -> Tensor:
        """Draw leaf upon leaf, then light, contrast and a little blur; uint8 [batch, 3, 32, 32]."""
        tint = _BRIGHTNESS + 0.5 * self._colours()
        textures = [self._texture() for _ in range(_TEXTURES)]
        image = _everywhere(tint + self._colours()) + 2 * self._texture()
        leaves = torch.randint(3, _MOST_LEAVES + 1, (self.batch, 1, 1, 1), generator=self.generator)
        smallest = 0.04 + 0.15 * self._uniform(1, 1)
        for number in range(_MOST_LEAVES):
            cover, shade = self._leaf(smallest)
            cover = cover * (number < leaves)
            leaf = _everywhere(tint + self._colours()) + textures[number % _TEXTURES] + shade
            image = image + cover * (leaf - image)
        return self._photograph(image)

    def _leaf(self, smallest: Tensor) -> tuple[Tensor, Tensor]:
        """Return how much of each pixel a leaf covers, and its shade; [batch, 1, canvas, canvas] each."""
        rows, columns = _grid()
        radius = (smallest**-1.5 + self._uniform(1, 1) * (1 - smallest**-1.5)) ** (-1 / 1.5)
        across = columns - (2.4 * self._uniform(1, 1) - 1.2)
        down = rows - (2.4 * self._uniform(1, 1) - 1.2)
        angle = math.pi * self._uniform(1, 1)
        stretch = torch.exp(0.28 * self._normal(1, 1))
        along = (angle.cos() * across + angle.sin() * down) / stretch
        aside = (angle.cos() * down - angle.sin() * across) * stretch
        distance = self._distance(along, aside)
        blurred = self._uniform(1, 1) < 0.25
        softness = torch.where(blurred, 0.02 + 0.2 * self._uniform(1, 1), torch.tensor(0.03))
        cover = ((radius - distance) / softness + 0.5).clamp(0, 1)
        shade = 0.06 * (across * self._normal(1, 1) + down * self._normal(1, 1)) / radius
        return cover[:, None], shade[:, None]

    def _distance(self, along: Tensor, aside: Tensor) -> Tensor:
        """Return each pixel's distance from the middle: of an ellipse, box, triangle or flower."""
        ellipse = torch.hypot(along, aside)
        box = 1.1 * torch.maximum(along.abs(), aside.abs())
        triangle = 1.5 * torch.maximum(
            torch.maximum(-aside, 0.5 * aside + 0.87 * along), 0.5 * aside - 0.87 * along
        )
        petals = torch.randint(2, 6, (self.batch, 1, 1), generator=self.generator)
        turned = torch.atan2(aside, along) * petals + 2 * math.pi * self._uniform(1, 1)
        flower = ellipse * (1 + 0.3 * torch.sin(turned))
        shapes = torch.stack([ellipse, box, triangle, flower])
        shape = torch.randint(0, len(shapes), (self.batch,), generator=self.generator)
        return shapes[shape, torch.arange(self.batch)]

    def _texture(self) -> Tensor:
        """Return noise whose amplitude falls with a power of frequency; [batch, 3, canvas, canvas]."""
        frequency = torch.hypot(torch.fft.fftfreq(_CANVAS)[:, None], torch.fft.rfftfreq(_CANVAS)[None])
        frequency[0, 0] = 1 / _CANVAS
        falls = frequency ** -(0.8 + 1.2 * self._uniform(1, 1, 1))
        size = (self.batch, 3, _CANVAS, _CANVAS // 2 + 1)
        spectrum = torch.complex(self._normal(*size[1:]), self._normal(*size[1:])) * falls
        noise = torch.fft.irfft2(spectrum, s=(_CANVAS, _CANVAS))
        noise = noise - noise.mean(dim=(2, 3), keepdim=True)
        noise = noise / (noise.std(dim=(2, 3), keepdim=True) + 1e-6)
        strength = 0.02 * torch.exp(math.log(12.0) * self._uniform(1, 1, 1))
        spreads = torch.tensor(_TEXTURE_SPREADS).view(1, 3, 1, 1)
        return torch.einsum("bkhw,kc->bchw", noise * strength * spreads, torch.tensor(_COLOURS))

    def _colours(self) -> Tensor:
        """Return a colour for each image, as a difference from grey; [batch, 3]."""
        opponent = self._normal(3) * torch.tensor(_COLOUR_SPREADS)
        vivid = torch.exp(0.5 * self._normal(1))
        return torch.cat([opponent[:, :1], opponent[:, 1:] * vivid], dim=1) @ torch.tensor(_COLOURS)

    def _photograph(self, image: Tensor) -> Tensor:
        """Light the scene from one side, vary contrast and sharpness, and round; uint8 [batch, 3, 32, 32]."""
        rows, columns = _grid()
        image = image + 0.1 * (columns * self._normal(1, 1) + rows * self._normal(1, 1))[:, None]
        image = _BRIGHTNESS + (image - _BRIGHTNESS) * torch.exp(0.25 * self._normal(1, 1, 1))
        image = functional.avg_pool2d(image, _CANVAS // IMAGE_SIZE)
        blurred = functional.avg_pool2d(functional.pad(image, (1, 1, 1, 1), mode="reflect"), 3, stride=1)
        image = torch.lerp(image, blurred, 0.5 * self._uniform(1, 1, 1))
        return (image.clamp(0, 1) * 255).round().to(torch.uint8)

    def _uniform(self, *shape: int) -> Tensor:
        return torch.rand(self.batch, *shape, generator=self.generator)

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(self.batch, *shape, generator=self.generator)


def _grid() -> tuple[Tensor, Tensor]:
    """Return each pixel's row and column, from -1 to 1; [canvas, canvas] each."""
    places = torch.linspace(-1, 1, _CANVAS)
    rows, columns = torch.meshgrid(places, places, indexing="ij")
    return rows, columns


def _everywhere(colours: Tensor) -> Tensor:
    return colours[:, :, None, None]
