"""Whole local trainings: what an update may depend on, and what it must not."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from dataclasses import fields
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import Tensor

from client.gradients.records import OuterProducts
from client.noise import PrivateRandomness
from client.optimizer import OptimizerSettings
from client.trainer import Charge, DPTrainer, LocalUpdate
from common.arrays import Arrays, digest
from common.data.features import FeatureData, FeatureTransform
from common.errors import ConfigError, DataError, MessageError
from common.models import build_loss, build_model, initial_arrays, model_arrays
from common.privacy.mechanisms import PoissonGaussian, Unprotected
from tests.small_trainings import (
    QUIET,
    START,
    charge,
    cross_entropy,
    fit,
    flat,
    network,
    records,
    scaled,
    trainer,
)


def test_an_update_is_the_new_parameters_minus_the_received_ones() -> None:
    used = trainer()
    update = fit(used, records(20), charge(20))
    start: Arrays = model_arrays(network())
    assert update.arrays.keys() == start.keys()
    assert {array.dtype for array in update.arrays.values()} == {np.dtype(np.float32)}
    for name, array in model_arrays(used._model).items():
        np.testing.assert_array_equal(update.arrays[name], array - start[name])
    assert np.abs(flat(update)).min() > 0


def test_nothing_but_the_update_comes_back() -> None:
    assert [field.name for field in fields(LocalUpdate)] == ["arrays"]


def test_chunk_sizes_do_not_matter() -> None:
    small, large = (fit(trainer(chunk=size), records(40), charge(40, sigma=QUIET)) for size in (7, 1000))
    np.testing.assert_allclose(flat(small), flat(large), atol=1e-6)


def test_a_trainer_forgets_what_it_trained_before() -> None:
    data, what = records(20), charge(20)
    expected = digest(fit(trainer(momentum=0.9), data, what).arrays)
    used = trainer(momentum=0.9)
    fit(used, records(30, seed=5), charge(30))
    assert digest(fit(used, data, what).arrays) == expected
    fit(used, data, charge(20, sigma=None))
    assert digest(fit(used, data, what).arrays) == expected


def test_training_without_protection_keeps_no_activations() -> None:
    used = trainer()
    fit(used, records(20), charge(20, sigma=None))
    assert used._network._kept == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("rule", [{}, {"momentum": 0.9}])
def test_a_plain_training_begins_without_the_gradient_of_one_that_failed(rule: dict[str, float]) -> None:
    failing = False
    calls = []

    def loss(outputs: Tensor, labels: Tensor) -> Tensor:
        calls.append(len(labels))
        if failing and len(calls) == 3:
            raise MemoryError
        return cross_entropy(outputs, labels)

    data, what = records(20), charge(20, sigma=None)
    expected = digest(fit(trainer(chunk=3, **rule), data, what).arrays)
    used, failing = trainer(loss=loss, chunk=3, **rule), True
    with pytest.raises(MemoryError):
        fit(used, records(30, seed=5), charge(30, sigma=None))
    failing = False
    assert digest(fit(used, data, what).arrays) == expected


def test_a_trainer_recovers_from_an_interrupted_batch() -> None:
    calls = []

    def fails_once(outputs: Tensor, labels: Tensor) -> Tensor:
        calls.append(len(labels))
        if len(calls) == 2:
            raise MemoryError
        return cross_entropy(outputs, labels)

    used = trainer(loss=fails_once, chunk=4)
    with pytest.raises(MemoryError):
        fit(used, records(20), charge(20))
    again = fit(used, records(20), charge(20))
    assert digest(again.arrays) == digest(fit(trainer(chunk=4), records(20), charge(20)).arrays)


@pytest.mark.parametrize("writeable", [True, False])
def test_a_value_that_is_not_finite_is_refused_each_time(writeable: bool) -> None:
    used = trainer()
    good, bad = ({name: value.copy() for name, value in START.items()} for _ in range(2))
    bad["0.weight"][0, 0, 0, 0] = np.nan
    for value in (*good.values(), *bad.values()):
        value.flags.writeable = writeable
    for _ in range(2):
        used.refuse_misfit(good)
        with pytest.raises(MessageError, match="not finite"):
            used.refuse_misfit(bad)
    if writeable:
        good["0.weight"][0, 0, 0, 0] = np.inf
        with pytest.raises(MessageError, match="not finite"):
            used.refuse_misfit(good)


@pytest.fixture
def one_core() -> Iterator[None]:
    """Give each operation one thread, as clients do."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_core")
def test_threads_do_not_change_updates() -> None:
    clients = range(4)
    alone = [digest(fit(trainer(), records(20, seed=i), charge(20), i).arrays) for i in clients]
    together: dict[int, str] = {}

    def work(client: int) -> None:
        torch.set_num_threads(1)
        own = trainer_of[client]
        for _ in range(3):
            together[client] = digest(fit(own, records(20, seed=client), charge(20), client).arrays)

    trainer_of = [trainer() for _ in clients]
    threads = [threading.Thread(target=work, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[client] for client in clients] == alone


def test_clients_and_rounds_get_different_noise() -> None:
    data, what = records(20), charge(20)
    seen = {
        digest(fit(trainer(), data, what, client, number).arrays)
        for client in range(3)
        for number in range(3)
    }
    assert len(seen) == 9


def test_global_random_state_is_neither_used_nor_changed() -> None:
    ready, start = trainer(), model_arrays(network())
    torch.manual_seed(3)
    state = torch.get_rng_state()
    numpy_state = np.random.get_state()[1].copy()  # type: ignore[index]
    ready.fit(start, records(20), charge(20), PrivateRandomness.from_operating_system())
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # type: ignore[index]


def test_no_warning_is_given() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for sigma in (1.0, None):
            fit(trainer(), records(20), charge(20, sigma=sigma))


def test_augmentation_is_drawn_from_its_own_stream() -> None:
    seen: list[int] = []

    def noting(images: Tensor, generator: torch.Generator | None) -> Tensor:
        assert generator is not None
        seen.append(int(torch.randint(2**62, (), generator=generator)))
        return scaled(images, generator)

    fit(trainer(transform=noting), records(20), charge(20, steps=2))
    fit(trainer(transform=noting), records(20), charge(20, steps=2))
    fit(trainer(transform=noting), records(20), charge(20, steps=2), partition_id=1)
    assert seen[:2] == seen[2:4]
    assert len(set(seen)) == 4


@pytest.mark.parametrize("sigma", [QUIET, None])
def test_views_that_are_alike_change_nothing(sigma: float | None) -> None:
    data, what = records(40), charge(40, sigma=sigma)
    np.testing.assert_allclose(
        flat(fit(trainer(views=3, chunk=7), data, what)), flat(fit(trainer(), data, what)), atol=1e-6
    )


def test_a_record_counts_by_the_clipped_mean_of_its_views() -> None:
    def every_other(images: Tensor, generator: torch.Generator | None) -> Tensor:
        assert len(images) % 2 == 0
        return scaled(images, generator) * (torch.arange(len(images)) % 2 == 0)[:, None, None, None]

    what = charge(20, rate=Fraction(1), steps=1, sigma=QUIET)
    update = flat(fit(trainer(views=2, transform=every_other), records(20), what))
    model, total = network(), torch.zeros(len(update))
    for image, label in zip(records(20).images, records(20).labels, strict=True):
        views = torch.stack([scaled(image, None), torch.zeros(3, 8, 8)])
        loss = cross_entropy(model(views), label.repeat(2)).mean()
        gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])
        total += gradient * min(1.0, 0.7 / float(gradient.norm()))
    np.testing.assert_allclose(update, -0.5 * total.numpy() / 20, atol=1e-6)


def test_data_of_another_size_than_charged_for_are_refused() -> None:
    with pytest.raises(DataError, match="19 records where 20"):
        fit(trainer(), records(19), charge(20))


def test_sampling_at_another_rate_than_accounted_for_is_refused() -> None:
    mechanism = PoissonGaussian(noise_multiplier=1.0, sample_rate=Fraction(1, 11), num_steps=1)
    with pytest.raises(ConfigError, match=r"10/103.*1/11"):
        Charge(mechanism=mechanism, sample_rate=Fraction(10, 103), max_grad_norm=1.0, num_examples=103)


@pytest.mark.parametrize("norm", [0.0, -1.0, float("inf"), float("nan")])
def test_clipping_norms_out_of_range_are_refused(norm: float) -> None:
    with pytest.raises(ConfigError, match="max-grad-norm"):
        Charge(
            mechanism=Unprotected(num_steps=1), sample_rate=Fraction(1), max_grad_norm=norm, num_examples=1
        )


def test_the_expected_batch_size_is_exact() -> None:
    assert charge(103, rate=Fraction(10, 103)).expected_batch_size == 10


def test_chunks_of_no_records_are_refused() -> None:
    with pytest.raises(ConfigError, match="max-physical-batch-size is 0"):
        trainer(chunk=0)


def test_a_step_of_the_linear_head_never_writes_a_record_s_gradient_out(monkeypatch):
    def refuse(_self):
        raise AssertionError("[b, 10, 15552] was written out")

    monkeypatch.setattr(OuterProducts, "dense", refuse)
    features = torch.randn(60, 1, 243, 8, 8, generator=torch.Generator().manual_seed(0)).half()
    data = FeatureData(inputs=features, labels=torch.arange(60) % 10, classes=tuple("abcdefghij"))
    trainer = DPTrainer(
        model=build_model("scatter-linear", num_classes=10),
        loss=build_loss("cross-entropy"),
        optimizer=OptimizerSettings(name="sgd", learning_rate=1.0),
        transform=FeatureTransform(),
    )
    start = initial_arrays("scatter-linear", num_classes=10, seed=0)
    mechanism = PoissonGaussian(noise_multiplier=1e-9, sample_rate=Fraction(1), num_steps=1)
    charge = Charge(mechanism=mechanism, sample_rate=Fraction(1), max_grad_norm=0.5, num_examples=60)
    update = trainer.fit(start, data, charge, PrivateRandomness.reproducible(0, 0, 1)).arrays
    scores = torch.full((60, 10), 0.1) - torch.nn.functional.one_hot(data.labels, 10)
    ones = torch.cat([features.float().flatten(1), torch.ones(60, 1)], dim=1)
    gradients = scores[:, :, None] * ones[:, None, :]
    gradients *= (0.5 / gradients.flatten(1).norm(dim=1))[:, None, None]
    expected = -gradients.mean(dim=0).numpy()
    np.testing.assert_allclose(update["linear.weight"], expected[:, :-1], atol=1e-6)
    np.testing.assert_allclose(update["linear.bias"], expected[:, -1], atol=1e-6)
