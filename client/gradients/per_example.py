"""Opacus' model wrapper, with a backward pass that computes per-record gradients and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from opacus.grad_sample import GradSampleModule
from opacus.grad_sample.functorch import prepare_layer
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from client.gradients.layers import layer_gradients
from client.gradients.records import RecordGradients, add


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One layer's part in a forward pass: what went in, and where its output's gradient will appear."""

    layer: nn.Module
    activations: list[Tensor]
    output: GradientEdge


class PerExampleModule(GradSampleModule):  # type: ignore[misc]  # Opacus has no types
    """A network whose records' gradients come apart.

    Opacus hangs on module backward hooks, next to a full backward pass whose batch gradients go unused.
    Here its forward hooks note where each layer's output is, autograd is asked for the gradients of those
    outputs alone, and Opacus' samplers, or quicker ones for the commonest layers, do the rest.

    Args:
        model: the network; nothing in it may mix the records of a batch.

    Raises:
        NotImplementedError: when a trainable layer has buffers.
    """

    most_at_once = None

    def __init__(self, model: nn.Module) -> None:
        self._calls: list[_Call] = []
        self._noting = False
        super().__init__(model, batch_first=True, loss_reduction="sum", strict=True)
        self._trained = {name: p for name, p in model.named_parameters() if p.requires_grad}

    def add_hooks(self, **_: Any) -> None:
        """Hook every layer that has parameters of its own."""
        self.autograd_grad_sample_hooks = []
        for layer in self.iterate_submodules(self._module):
            if type(layer) not in self.GRAD_SAMPLERS:
                prepare_layer(layer, batch_first=True)
            self.autograd_grad_sample_hooks.append(layer.register_forward_hook(self._note_call))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the network's outputs, and note which layers took part."""
        self._calls, self._noting = [], True
        try:
            outputs: Tensor = self._module(inputs)
        finally:
            self._noting = False
        return outputs

    def forget_batch(self) -> None:
        """Drop what an exception in the middle of a batch may have left behind."""
        self._calls = []

    def backward(self, losses: Tensor) -> list[RecordGradients]:
        """Return the gradients of every trainable parameter, in the model's order.

        Args:
            losses: of the records, [b], from the outputs of the last forward pass.

        Raises:
            RuntimeError: when a parameter has not got exactly one gradient for each record.
        """
        calls, self._calls = self._calls, []
        backprops = torch.autograd.grad(losses.sum(), [call.output for call in calls])
        gradients: dict[Tensor, RecordGradients] = {}
        for call, backprop in zip(calls, backprops, strict=True):
            for parameter, some in layer_gradients(call.layer, call.activations, backprop).items():
                gradients[parameter] = add(gradients.get(parameter), some)
        for name, parameter in self._trained.items():
            if parameter not in gradients or len(gradients[parameter]) != len(losses):
                raise RuntimeError(f"parameter {name} lacks a gradient for each record; use other layers")
        return [gradients[parameter] for parameter in self._trained.values()]

    def _note_call(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if self._noting and output.requires_grad:
            detached = [tensor.detach() for tensor in inputs]
            self._calls.append(_Call(layer=layer, activations=detached, output=get_gradient_edge(output)))
