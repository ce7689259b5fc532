"""Compute the public constants that scale scattering features, from images that no camera took.

`python -m benchmarks.scattering_constants` rewrites common/models/scattering/constants.py. Half of the images
are noise with a power-law spectrum, half dead leaves (discs of random size and colour that cover each other);
both share the statistics of natural images without being any. Source: Ruderman 1997, "Origins of scaling in
natural images"; Lee, Mumford and Huang 2001, "Occlusion Models for Natural Images"; Baradad et al. 2021,
"Learning to See by Looking at Noise".
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from common.models.scattering import constants
from common.models.scattering.front import IMAGE_SIZE, ORIENTATIONS, SCALES
from common.models.scattering.transform import Scattering

IMAGES = 4000
LEAVES = 120
BATCH = 100
_COLUMNS = 11


def coloured_noise(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw an image whose amplitude falls with a power of frequency, its colours mostly alike."""
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(IMAGE_SIZE), np.fft.fftfreq(IMAGE_SIZE)))
    frequencies[0, 0] = 1 / IMAGE_SIZE
    amplitude = frequencies ** -rng.uniform(0.6, 1.6)
    planes = np.fft.ifft2(amplitude * np.fft.fft2(rng.standard_normal((3, IMAGE_SIZE, IMAGE_SIZE)))).real
    planes = rng.uniform(0.1, 0.5) * planes + planes[:1]
    planes = (planes - planes.mean()) / planes.std()
    lit: NDArray[np.float64] = planes * rng.uniform(0.1, 0.3) + rng.uniform(0.25, 0.75)
    return lit + rng.normal(0, 0.06, (3, 1, 1))


def dead_leaves(rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw discs with radii of density r**-3 over each other, in colours around the image's own."""
    y, x = np.mgrid[:IMAGE_SIZE, :IMAGE_SIZE]
    ground, spread = rng.uniform(0.25, 0.75, 3), rng.uniform(0.1, 0.3)
    image = np.broadcast_to(ground[:, None, None], (3, IMAGE_SIZE, IMAGE_SIZE)).copy()
    for _ in range(LEAVES):
        radius = min(1.5 / np.sqrt(rng.uniform(0.002, 1.0)), IMAGE_SIZE)
        centre = rng.uniform(-4, IMAGE_SIZE + 4, 2)
        inside = np.clip(radius - np.hypot(y - centre[0], x - centre[1]) + 0.5, 0.0, 1.0)
        colour = ground + spread * (rng.standard_normal() + 0.4 * rng.standard_normal(3))
        image += inside * (colour[:, None, None] - image)
    return image


def draw(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Draw images, uint8 [count, 3, 32, 32], of both kinds in turn."""
    rng = np.random.default_rng(seed)
    kinds = (coloured_noise, dead_leaves)
    images = np.stack([kinds[number % 2](rng) for number in range(count)])
    return np.rint(255 * np.clip(images, 0.0, 1.0)).astype(np.uint8)


def channel_statistics(images: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each scattering channel, over images and places."""
    scattering = Scattering(scales=SCALES, orientations=ORIENTATIONS, image_size=(IMAGE_SIZE, IMAGE_SIZE))
    batches = torch.split(torch.from_numpy(images), BATCH)
    features = torch.cat([scattering(batch.float() / 255).double().transpose(0, 1) for batch in batches], 1)
    rows = features.flatten(1)
    return rows.mean(dim=1).numpy(), rows.std(dim=1, correction=0).numpy()


def source(means: NDArray[np.float64], deviations: NDArray[np.float64]) -> str:
    """Return the module that holds the constants."""
    return (
        '"""Public mean and standard deviation of each channel of scattering features.\n\n'
        "Made by `python -m benchmarks.scattering_constants` from procedurally drawn images; no private\n"
        'and no real image took part.\n"""\n\nfrom __future__ import annotations\n\n'
        f'MEANS = """\n{_lines(means)}\n"""\n\nDEVIATIONS = """\n{_lines(deviations)}\n"""\n'
    )


def _lines(values: NDArray[np.float64]) -> str:
    words = [f"{value:.6f}" for value in values]
    return "\n".join(" ".join(words[at : at + _COLUMNS]) for at in range(0, len(words), _COLUMNS))


def main() -> None:
    """Rewrite the constants."""
    torch.set_num_threads(1)
    with torch.inference_mode():
        text = source(*channel_statistics(draw(IMAGES)))
    Path(constants.__file__).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
