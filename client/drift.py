"""What is added to noised gradients so that clients' steps between two averages lead less far apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


def pull_back(rule: Optimizer, vector: nn.Parameter, proximal_mu: float) -> None:
    """Have a rule's steps add mu * (w - w_start) to the gradient, where w_start is where the vector is now.

    As a term of the loss it would have no part in the gradients of single records, and none in a step.
    Source: Li et al. 2020, "Federated Optimization in Heterogeneous Networks" (FedProx).

    Args:
        rule: over the vector alone, with no step taken yet.
        vector: all parameters; its gradient has its noise when the rule steps.
        proximal_mu: not negative; 0 leaves the rule as it is.

    Privacy:
        Post-processing: the vector is where noised gradients have led, so nothing is to be charged.
    """
    if not proximal_mu:
        return
    start = vector.detach().clone()

    def add(*_: object) -> None:
        if vector.grad is not None:
            vector.grad.add_(torch.sub(vector.detach(), start), alpha=proximal_mu)

    rule.register_step_pre_hook(add)


def correct(rule: Optimizer, vector: nn.Parameter, correction: Tensor) -> None:
    """Have a rule's steps add the same values to every gradient.

    Source: Karimireddy et al. 2020, "SCAFFOLD: Stochastic Controlled Averaging for Federated Learning", the
    correction of a local step, c - c_i.

    Args:
        rule: over the vector alone.
        vector: all parameters; its gradient has its noise when the rule steps.
        correction: shaped like the vector, finite.

    Privacy:
        Post-processing, whatever the values are: they come from outside, as the model does.
    """

    def add(*_: object) -> None:
        if vector.grad is not None:
            vector.grad.add_(correction)

    rule.register_step_pre_hook(add)
