"""Clipping, noise and scaling, with numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

from client.flat import FlatParameters
from client.gradients import record_network, summing_network
from client.noise import ChaChaStream
from client.optimizer import OptimizerSettings, PlainOptimizer, PrivateOptimizer
from common.errors import ConfigError

SIGMA_NONE = 1e-12


def noise_stream() -> ChaChaStream:
    return ChaChaStream(b"n" * 32)


class Rig:
    """A linear layer whose loss is its only output, so that a record's gradient is the record itself."""

    def __init__(self, inputs: int, *, bias: bool = False, **settings: float) -> None:
        self.layer = nn.Linear(inputs, 1, bias=bias)
        nn.init.zeros_(self.layer.weight)
        self.network = record_network(self.layer)
        values = {
            "noise_multiplier": SIGMA_NONE,
            "max_grad_norm": 1.0,
            "expected_batch_size": 1.0,
            **settings,
        }
        self.parameters = FlatParameters(self.layer)
        rule = SGD([self.parameters.vector], lr=1.0)
        self.optimizer = PrivateOptimizer(
            rule, network=self.network, parameters=self.parameters, noise=noise_stream(), **values
        )

    def absorb(self, *records: list[float]) -> None:
        self.optimizer.absorb(self.network(torch.tensor(records)).squeeze(1))

    def step(self) -> list[float]:
        """Return minus the step, which is the clipped, noised and scaled gradient."""
        before = self.layer.weight.detach().clone()
        self.optimizer.finish_batch()
        difference: list[float] = (before - self.layer.weight.detach()).flatten().tolist()
        return difference


def test_long_gradients_are_cut_to_the_norm_and_short_ones_kept() -> None:
    rig = Rig(3)
    rig.absorb([3.0, 4.0, 0.0], [0.0, 0.0, 0.5])  # norms 5 and 0.5, C = 1
    assert rig.step() == pytest.approx([0.6, 0.8, 0.5], abs=1e-5)


def test_the_norm_is_taken_over_all_parameters_together() -> None:
    rig = Rig(2, bias=True, max_grad_norm=1.5)
    rig.absorb([2.0, 2.0])  # with the bias' 1 the norm is 3, so everything is halved
    bias_before = rig.layer.bias.item()
    assert rig.step() == pytest.approx([1.0, 1.0], abs=1e-5)
    assert bias_before - rig.layer.bias.item() == pytest.approx(0.5, abs=1e-5)


def test_the_sum_is_divided_by_the_expected_batch_size() -> None:
    rig = Rig(1, expected_batch_size=4.0)
    rig.absorb([0.5], [0.5])
    assert rig.step() == pytest.approx([0.25])


def test_chunks_add_up_and_a_step_forgets_them() -> None:
    rig = Rig(2)
    rig.absorb([0.5, 0.0])
    rig.absorb([0.0, 0.25], [0.5, 0.0])
    assert rig.step() == pytest.approx([1.0, 0.25])
    rig.absorb([0.0, 0.5])
    assert rig.step() == pytest.approx([0.0, 0.5])


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan"), 1e30])
def test_a_record_without_a_finite_norm_adds_nothing(bad: float) -> None:
    rig = Rig(2)
    rig.absorb([0.5, 0.25], [bad, 1.0], [0.0, 0.5])
    assert rig.step() == pytest.approx([0.5, 0.75])


def test_a_gradient_of_zero_stays_zero() -> None:
    rig = Rig(2)
    rig.absorb([0.0, 0.0])
    assert rig.step() == pytest.approx([0.0, 0.0], abs=1e-9)


def test_noise_is_the_stream_times_multiplier_times_norm_over_the_expected_size() -> None:
    rig = Rig(4, noise_multiplier=3.0, max_grad_norm=0.5, expected_batch_size=2.0)
    expected = noise_stream().standard_normals(4) * 3.0 * 0.5 / 2.0
    assert rig.step() == pytest.approx(expected.tolist(), rel=1e-6)


def test_parameters_share_out_one_vector_of_noise_in_their_order() -> None:
    rig = Rig(4, bias=True, noise_multiplier=1.0)
    bias_before = rig.layer.bias.item()
    expected = noise_stream().standard_normals(5).tolist()
    assert rig.step() == pytest.approx(expected[:4], rel=1e-5)
    assert bias_before - rig.layer.bias.item() == pytest.approx(expected[4], rel=1e-6)


def test_every_step_takes_the_next_part_of_the_stream() -> None:
    rig, stream = Rig(4, noise_multiplier=1.0), noise_stream()
    for _ in range(3):
        assert rig.step() == pytest.approx(stream.standard_normals(4).tolist(), rel=1e-5, abs=1e-6)


def test_plain_steps_are_sums_over_the_expected_size() -> None:
    layer = nn.Linear(2, 1, bias=False)
    before = layer.weight.detach().clone()
    parameters = FlatParameters(layer)
    rule = SGD([parameters.vector], lr=1.0)
    network = summing_network(layer)
    optimizer = PlainOptimizer(rule, network=network, parameters=parameters, expected_batch_size=4.0)
    optimizer.absorb(network(torch.tensor([[30.0, 40.0]])).squeeze(1))
    optimizer.absorb(network(torch.tensor([[2.0, 0.0]])).squeeze(1))
    optimizer.finish_batch()
    assert (before - layer.weight).tolist()[0] == pytest.approx([8.0, 10.0], rel=1e-5)
    optimizer.finish_batch()
    assert (before - layer.weight).tolist()[0] == pytest.approx([8.0, 10.0], rel=1e-5)


def two_steps(settings: OptimizerSettings, gradients: list[float]) -> float:
    weight = torch.zeros(1, requires_grad=True)
    rule = settings.build([weight])
    for gradient in gradients:
        weight.grad = torch.tensor([gradient])
        rule.step()
    value: float = weight.item()
    return value


@pytest.mark.parametrize(
    ("name", "momentum", "expected"),
    [
        ("sgd", 0.0, -0.3),  # 0.1 * (1 + 2)
        ("sgd", 0.5, -0.35),  # 0.1 * 1 + 0.1 * (0.5 * 1 + 2)
        ("adam", 0.0, -0.1 - 0.1 * (0.29 / 0.19) / (0.004999 / 0.001999) ** 0.5),
        ("rmsprop", 0.0, -0.1 / 0.01**0.5 - 0.2 / 0.0499**0.5),
    ],
)
def test_rules_by_hand(name: str, momentum: float, expected: float) -> None:
    settings = OptimizerSettings(name=name, learning_rate=0.1, momentum=momentum)
    assert two_steps(settings, [1.0, 2.0]) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "lion"}, "'lion'.*sgd, adam, rmsprop"),
        ({"learning_rate": 0.0}, "learning-rate is 0.0"),
        ({"learning_rate": float("nan")}, "learning-rate is nan"),
        ({"learning_rate": float("inf")}, "learning-rate is inf"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"momentum": -0.1}, "momentum is -0.1"),
        ({"proximal_mu": -0.1}, "proximal-mu is -0.1"),
        ({"proximal_mu": float("nan")}, "proximal-mu is nan"),
        ({"proximal_mu": float("inf")}, "proximal-mu is inf"),
        ({"name": "adam", "momentum": 0.9}, "momentum is 0.9 with optimizer 'adam'"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, float | str], message: str) -> None:
    settings = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.0, **changes}
    with pytest.raises(ConfigError, match=message):
        OptimizerSettings(**settings)  # type: ignore[arg-type]


def test_momentum_sees_noised_gradients_only() -> None:
    rig = Rig(1, noise_multiplier=1.0)
    rule = SGD([rig.parameters.vector], lr=1.0, momentum=0.9)
    rig.optimizer.original_optimizer = rule
    rig.absorb([0.5])
    rig.step()
    buffer: Tensor = rule.state[rig.parameters.vector]["momentum_buffer"]
    noised = 0.5 + noise_stream().standard_normals(1).item()
    assert buffer.item() == pytest.approx(noised, rel=1e-5)
