"""Per-record gradients: Opacus' samplers, driven by one backward pass that computes nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from opacus.grad_sample import GradSampleModule
from opacus.grad_sample.conv import compute_conv_grad_sample
from opacus.grad_sample.functorch import ft_compute_per_sample_gradient, prepare_layer
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional

GradSampler = Callable[[nn.Module, list[Tensor], Tensor], dict[Tensor, Tensor]]

_PATCH_VALUES = 2**19  # unfolded image patches held at once, so that they stay in a core's cache


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One layer's part in a forward pass: what went in, and where its output's gradient will appear."""

    layer: nn.Module
    activations: list[Tensor]
    output: GradientEdge


def sample_conv2d_gradients(
    layer: nn.Conv2d, activations: list[Tensor], backprops: Tensor
) -> dict[Tensor, Tensor]:
    """Compute what Opacus computes for a convolution, some records at a time.

    Opacus unfolds a whole batch into patches at once; for the first layer of a small network that is more
    memory than all else together, and fetching it from the system takes longer than the arithmetic.

    Args:
        layer: the convolution.
        activations: its input, [b, C, H, W], alone in a list.
        backprops: gradient of its output, [b, O, H', W'].

    Returns:
        Gradients [b, *shape of the parameter] by parameter.
    """
    images = activations[0]
    if layer.groups != 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        sampled: dict[Tensor, Tensor] = compute_conv_grad_sample(layer, activations, backprops)
        return sampled
    gradients = {}
    if layer.weight.requires_grad:
        gradients[layer.weight] = _weight_gradients(layer, images, backprops)
    if layer.bias is not None and layer.bias.requires_grad:
        gradients[layer.bias] = backprops.sum(dim=(2, 3))
    return gradients


def _weight_gradients(layer: nn.Conv2d, images: Tensor, backprops: Tensor) -> Tensor:
    vertical, horizontal = (int(padding) for padding in layer.padding)
    padded = functional.pad(images, (horizontal, horizontal, vertical, vertical))
    patches = _patch_view(layer, padded, backprops)
    samples = padded.new_empty(len(images), layer.out_channels, patches[0].numel() // backprops[0, 0].numel())
    records = max(1, _PATCH_VALUES // patches[0].numel())
    parts = zip(
        torch.split(backprops.flatten(2), records),
        torch.split(patches, records),
        torch.split(samples, records),
        strict=True,
    )
    for output_part, patch_part, sample_part in parts:
        unfolded = patch_part.reshape(len(patch_part), samples.shape[2], -1)
        torch.bmm(output_part, unfolded.transpose(1, 2), out=sample_part)
    return samples.view(len(images), *layer.weight.shape)


def _patch_view(layer: nn.Conv2d, padded: Tensor, backprops: Tensor) -> Tensor:
    """View padded images [b, C, H, W] as overlapping patches [b, C, kernel, kernel, H', W']."""
    record, channel, row, column = padded.stride()
    (down, right), (apart, aside) = layer.stride, layer.dilation
    return padded.as_strided(
        (*padded.shape[:2], *layer.kernel_size, *backprops.shape[2:]),
        (record, channel, row * apart, column * aside, row * down, column * right),
    )


class PerExampleModule(GradSampleModule):  # type: ignore[misc]  # Opacus has no types
    """Opacus' wrapper with another backward pass.

    Opacus hangs on module backward hooks, next to a full backward pass whose batch gradients go unused.
    Here the forward hooks note where each layer's output is, autograd is asked for the gradients of those
    outputs alone, and Opacus' samplers turn them into per-record gradients.

    Args:
        model: the network; nothing in it may mix the records of a batch.

    Raises:
        NotImplementedError: when a trainable layer has buffers.
    """

    GRAD_SAMPLERS = {**GradSampleModule.GRAD_SAMPLERS, nn.Conv2d: sample_conv2d_gradients}  # noqa: RUF012

    def __init__(self, model: nn.Module) -> None:
        self._calls: list[_Call] = []
        super().__init__(model, batch_first=True, loss_reduction="sum", strict=True)

    def add_hooks(self, **_: Any) -> None:
        """Hook every layer that has parameters of its own."""
        self._module.autograd_grad_sample_hooks = []
        self.autograd_grad_sample_hooks = self._module.autograd_grad_sample_hooks
        for layer in self.iterate_submodules(self._module):
            if type(layer) not in self.GRAD_SAMPLERS:
                prepare_layer(layer, batch_first=True)
            self.autograd_grad_sample_hooks.append(layer.register_forward_hook(self._note_call))
        self.enable_hooks()

    def _note_call(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self.hooks_enabled and output.requires_grad:
            activations = [tensor.detach() for tensor in inputs]
            self._calls.append(_Call(layer=layer, activations=activations, output=get_gradient_edge(output)))

    def forget_batch(self) -> None:
        """Drop what an exception in the middle of a batch may have left behind."""
        self._calls = []
        self.zero_grad(set_to_none=True)

    def backward(self, losses: Tensor) -> None:
        """Set `grad_sample` [b, ...] of every parameter from per-record losses [b].

        Raises:
            RuntimeError: when a parameter has not got exactly one gradient for each record.
        """
        calls, self._calls = self._calls, []
        gradients = torch.autograd.grad(losses.sum(), [call.output for call in calls])
        for call, gradient in zip(calls, gradients, strict=True):
            sample: GradSampler = self.GRAD_SAMPLERS.get(type(call.layer), ft_compute_per_sample_gradient)
            for parameter, samples in sample(call.layer, call.activations, gradient).items():
                _add_samples(parameter, samples)
        for name, parameter in self._module.named_parameters():
            if parameter.requires_grad and not _has_one_gradient_each(parameter, len(losses)):
                raise RuntimeError(f"parameter {name} lacks a gradient for each record; use other layers")


def _add_samples(parameter: Any, samples: Tensor) -> None:
    """Sum over the calls of a layer that is used several times in one pass."""
    earlier = parameter.grad_sample
    parameter.grad_sample = samples if earlier is None else earlier + samples


def _has_one_gradient_each(parameter: Any, records: int) -> bool:
    samples = parameter.grad_sample
    return isinstance(samples, Tensor) and samples.shape == (records, *parameter.shape)
