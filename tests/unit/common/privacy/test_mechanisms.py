from __future__ import annotations

import json
from fractions import Fraction

import pytest

from common.errors import ConfigError, LedgerError
from common.privacy.mechanisms import PoissonGaussian, Unprotected, from_json, merge, to_json


def gaussian(sigma: float = 1.1, rate: str = "0.2", steps: int = 3) -> PoissonGaussian:
    return PoissonGaussian(noise_multiplier=sigma, sample_rate=Fraction(rate), num_steps=steps)


def test_json_holds_strings_and_integers_only():
    assert to_json(gaussian(1.25, "0.02", 500)) == {
        "type": "poisson-gaussian",
        "noise_multiplier": "1.25",
        "sample_rate": [1, 50],
        "steps": 500,
    }
    assert to_json(Unprotected(num_steps=7)) == {"type": "unprotected", "steps": 7}


@pytest.mark.parametrize(
    "mechanism", [gaussian(), gaussian(4.0, "1"), gaussian(1e-5), Unprotected(num_steps=2)]
)
def test_json_round_trips(mechanism):
    assert from_json(json.loads(json.dumps(to_json(mechanism)))) == mechanism


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": "laplace"}, "type"),
        ({"type": ["poisson-gaussian"]}, "type"),
        ({"noise_multiplier": "0"}, "noise_multiplier"),
        ({"noise_multiplier": "-1"}, "noise_multiplier"),
        ({"noise_multiplier": "1.10"}, "noise_multiplier"),
        ({"noise_multiplier": "1e0"}, "noise_multiplier"),
        ({"noise_multiplier": "nan"}, "noise_multiplier"),
        ({"noise_multiplier": "inf"}, "noise_multiplier"),
        ({"noise_multiplier": 1.1}, "noise_multiplier"),
        ({"noise_multiplier": " 1.1"}, "noise_multiplier"),
        ({"sample_rate": [2, 10]}, "sample_rate"),
        ({"sample_rate": [6, 5]}, "sample_rate"),
        ({"sample_rate": [0, 1]}, "sample_rate"),
        ({"sample_rate": [-1, 5]}, "sample_rate"),
        ({"sample_rate": [1, -5]}, "sample_rate"),
        ({"sample_rate": [1, 0]}, "sample_rate"),
        ({"sample_rate": [1, 5, 1]}, "sample_rate"),
        ({"sample_rate": [True, 5]}, "sample_rate"),
        ({"sample_rate": "1/5"}, "sample_rate"),
        ({"steps": 0}, "num_steps"),
        ({"steps": True}, "steps"),
        ({"steps": 1.0}, "steps"),
        ({"steps": 2**53}, "num_steps"),
        ({"epsilon": "1"}, "epsilon"),
    ],
)
def test_every_other_form_is_refused_by_the_field_s_name(change, field):
    with pytest.raises(LedgerError, match=field):
        from_json(to_json(gaussian()) | change)


@pytest.mark.parametrize("missing", ["type", "noise_multiplier", "sample_rate", "steps"])
def test_a_missing_field_is_refused_by_its_name(missing):
    value = to_json(gaussian())
    del value[missing]
    with pytest.raises(LedgerError, match=missing):
        from_json(value)


def test_something_else_than_an_object_is_refused():
    with pytest.raises(LedgerError, match="list"):
        from_json([1])


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("inf"), float("nan")])
def test_noise_must_be_positive_and_finite(sigma):
    with pytest.raises(ConfigError, match="noise_multiplier"):
        gaussian(sigma)


@pytest.mark.parametrize("rate", [Fraction(0), Fraction(-1, 2), Fraction(6, 5), 0.2, Fraction(0.1)])
def test_sample_rate_is_an_exact_fraction(rate):
    with pytest.raises(ConfigError, match="sample_rate"):
        PoissonGaussian(noise_multiplier=1.0, sample_rate=rate, num_steps=1)


@pytest.mark.parametrize("steps", [0, -1, 1.5, True])
def test_steps_are_whole_and_positive(steps):
    with pytest.raises(ConfigError, match="num_steps"):
        Unprotected(num_steps=steps)
    with pytest.raises(ConfigError, match="num_steps"):
        gaussian(steps=steps)


def test_merge_sums_steps_of_equal_mechanisms_in_one_order():
    history = [
        gaussian(2.0, "0.2", 3),
        Unprotected(num_steps=1),
        gaussian(1.0, "0.2", 1),
        gaussian(2.0, "0.1", 5),
    ]
    history += [gaussian(2.0, "1/5", 4), Unprotected(num_steps=2)]
    expected = (
        gaussian(1.0, "0.2", 1),
        gaussian(2.0, "0.1", 5),
        gaussian(2.0, "0.2", 7),
        Unprotected(num_steps=3),
    )
    assert merge(history) == expected
    assert merge(reversed(history)) == expected
    assert merge(expected) == expected
    assert merge([]) == ()
