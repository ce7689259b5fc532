"""Layers without parameters, with records side by side."""

from __future__ import annotations

from torch import Tensor, nn

from client.gradients.lanes.layout import LANES, Memory
from client.gradients.link import Kept, Link, pair
from client.kernels import run
from client.kernels.parallel import by_blocks
from client.kernels.structures import Windows


class LanedMaxPool(Link):
    """The largest value of each window, or zero where it is less and a ReLU was before, or is behind."""

    def __init__(self, layer: nn.MaxPool2d, memory: Memory, *, rectified: bool = False) -> None:
        self._window, self._apart = pair(layer.kernel_size), pair(layer.stride)
        self._rectified = rectified
        self._memory = memory

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """Return the output for inputs in lanes, and what `back` needs."""
        windows = self._windows(inputs)
        outputs = self._memory.empty(*inputs.shape[:2], windows.result_height, windows.result_width, LANES)

        def some(part: slice) -> None:
            run("largest", self._windows(inputs[part]), inputs[part], outputs[part])

        by_blocks(some, len(inputs), operations=inputs.shape[1:].numel())
        return outputs, (inputs, outputs)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        inputs, outputs = kept
        gradients = self._memory.empty(*inputs.shape)

        def some(part: slice) -> None:
            tensors = [tensor[part] for tensor in (inputs, outputs, backprops, gradients)]
            run("largest_back", self._windows(tensors[0]), *tensors)

        by_blocks(some, len(inputs), operations=2 * inputs.shape[1:].numel())
        return gradients

    def _windows(self, inputs: Tensor) -> Windows:
        blocks, channels, height, width, _ = inputs.shape
        sides = zip((height, width), self._window, self._apart, strict=True)
        results = [(size - window) // apart + 1 for size, window, apart in sides]
        if min(results) < 1:
            raise RuntimeError(f"images of {height} x {width} are smaller than a window of {self._window}")
        return Windows(
            blocks * channels, height, width, *self._window, *self._apart, *results, self._rectified
        )


class LanedActivation(Link):
    """A function of each number alone, whose derivative follows from its result.

    Args:
        kernel: its name; that of its way back ends with `_back`.
        memory: for what lasts no longer than a batch.
    """

    def __init__(self, kernel: str, memory: Memory) -> None:
        self._kernel = kernel
        self._memory = memory

    def forward(self, inputs: Tensor) -> tuple[Tensor, Kept]:
        """Return the output for inputs in lanes, and what `back` needs."""
        outputs = self._memory.empty(*inputs.shape)
        _each_block(self._kernel, inputs, outputs)
        return outputs, (outputs,)

    def _backward(self, kept: Kept, backprops: Tensor) -> Tensor:
        gradients = self._memory.empty(*backprops.shape)
        _each_block(f"{self._kernel}_back", kept[0], backprops, gradients)
        return gradients


def _each_block(kernel: str, *tensors: Tensor) -> None:
    values = tensors[0].shape[1:].numel()

    def some(part: slice) -> None:
        blocks = [tensor[part] for tensor in tensors]
        run(kernel, len(blocks[0]), values // LANES, *blocks)

    by_blocks(some, len(tensors[0]), operations=values * len(tensors))


def is_plain_pool(layer: nn.MaxPool2d) -> bool:
    """Say whether windows lie on pixels alone, none of them beyond the image."""
    bare = (pair(layer.padding), pair(layer.dilation)) == ((0, 0), (1, 1))
    bare = bare and min(*pair(layer.kernel_size), *pair(layer.stride)) > 0
    return bare and not layer.ceil_mode and not layer.return_indices
