from __future__ import annotations

import json
from fractions import Fraction

import pytest

from common.errors import ConfigError, LedgerError
from common.privacy.mechanisms import (
    DiscreteLaplace,
    Gaussian,
    Laplace,
    PoissonGaussian,
    Unprotected,
    from_json,
    merge,
    to_json,
)

ADDITIVE = (Gaussian, Laplace, DiscreteLaplace)


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
    ("kind", "name"), [(Gaussian, "gaussian"), (Laplace, "laplace"), (DiscreteLaplace, "discrete-laplace")]
)
def test_additive_noise_has_its_own_type_and_no_sample_rate(kind, name):
    mechanism = kind(noise_multiplier=0.5, num_steps=3)
    assert to_json(mechanism) == {"type": name, "noise_multiplier": "0.5", "steps": 3}
    assert type(from_json(to_json(mechanism))) is kind


@pytest.mark.parametrize(
    "mechanism",
    [
        gaussian(),
        gaussian(4.0, "1"),
        gaussian(1e-5),
        Unprotected(num_steps=2),
        *(kind(noise_multiplier=12.5, num_steps=9) for kind in ADDITIVE),
    ],
)
def test_json_round_trips(mechanism):
    assert from_json(json.loads(json.dumps(to_json(mechanism)))) == mechanism


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": "snapping"}, "type is 'snapping', permitted is one of discrete-laplace, gaussian, laplace"),
        ({"type": "laplace"}, "laplace has the unknown field 'sample_rate'"),
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


@pytest.mark.parametrize("kind", ADDITIVE)
@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"noise_multiplier": "0"}, "noise_multiplier"),
        ({"noise_multiplier": "-1"}, "noise_multiplier"),
        ({"noise_multiplier": "inf"}, "noise_multiplier"),
        ({"noise_multiplier": 1}, "noise_multiplier"),
        ({"noise_multiplier": None}, "noise_multiplier"),
        ({"steps": 0}, "num_steps"),
        ({"steps": "1"}, "steps"),
        ({"sample_rate": [1, 5]}, "sample_rate"),
        ({"sensitivity": "1"}, "sensitivity"),
    ],
)
def test_every_other_form_of_additive_noise_is_refused(kind, change, field):
    with pytest.raises(LedgerError, match=field):
        from_json(to_json(kind(noise_multiplier=2.0, num_steps=1)) | change)


@pytest.mark.parametrize("missing", ["type", "noise_multiplier", "sample_rate", "steps"])
def test_a_missing_field_is_refused_by_its_name(missing):
    value = to_json(gaussian())
    del value[missing]
    with pytest.raises(LedgerError, match=missing):
        from_json(value)


def test_something_else_than_an_object_is_refused():
    with pytest.raises(LedgerError, match="list"):
        from_json([1])


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


def test_merge_keeps_kinds_apart_in_one_order():
    kinds = [kind(noise_multiplier=noise, num_steps=1) for kind in ADDITIVE for noise in (1.0, 2.0)]
    history = [gaussian(2.0, "1", 1), *kinds, Unprotected(num_steps=1)]
    assert merge(history[::-1]) == tuple(history)
    doubled = merge(history * 2)
    assert [m.num_steps for m in doubled] == [2] * len(history)
    assert [type(m) for m in doubled] == [type(m) for m in history]


def test_merge_sorts_by_sample_rate_and_not_by_its_numerator():
    assert merge([gaussian(1.0, "1/2", 1), gaussian(1.0, "2/5", 1)]) == (
        gaussian(1.0, "2/5", 1),
        gaussian(1.0, "1/2", 1),
    )


def test_merge_leaves_what_it_was_given_as_it_was():
    history = (gaussian(1.0, "1/2", 1), gaussian(1.0, "1/2", 1))
    assert merge(history)[0].num_steps == 2
    assert [mechanism.num_steps for mechanism in history] == [1, 1]


def test_merge_hashes_no_fraction(monkeypatch):
    # Hashing one takes a microsecond, and audits merge millions of entries.
    history = [gaussian(1.0 + number % 3, "17/1003", 2) for number in range(300)]
    monkeypatch.setattr(Fraction, "__hash__", None)
    assert [m.num_steps for m in merge(history)] == [200, 200, 200]
    assert len({*merge(history), *merge(history)}) == 3


def test_merged_steps_beyond_the_largest_integer_are_refused():
    with pytest.raises(ConfigError, match="num_steps"):
        merge([Laplace(noise_multiplier=1.0, num_steps=2**52)] * 2)
