"""A charge is for what was proposed, or its update is not used."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest

from common.config import resolve
from common.errors import MessageError
from common.ledger import Reserve
from common.privacy.mechanisms import Gaussian, PoissonGaussian, Unprotected
from server.proposals import Asked
from server.strategy import FedAvg

NOISY = PoissonGaussian(noise_multiplier=1.5, sample_rate=Fraction(1, 10), num_steps=2)


def asked(**settings) -> Asked:
    config = resolve({"training.local-steps": 2}, settings)
    return Asked(
        proposal=FedAvg(config, (0,)).proposal(0),
        num_examples=50,
        input_model="a" * 64,
        nonce="c" * 64,
        reproducible_noise=config.privacy.reproducible_noise,
    )


def charge(**changes) -> Reserve:
    honest = Reserve(
        run="run",
        round=1,
        purpose="train",
        mechanisms=(NOISY,),
        max_grad_norm=1.0,
        normaliser=Fraction(5),
        sampler="poisson",
        noise_source="chacha20",
        input_model="a" * 64,
        server_nonce="c" * 64,
        code_digest="d" * 64,
    )
    return replace(honest, **changes)


def test_what_was_proposed_is_accepted():
    asked().check(charge())
    asked(**{"privacy.noise-multiplier": 1.5}).check(charge())
    asked(**{"privacy.reproducible-noise": True}).check(charge(noise_source="reproducible"))
    unprotected = charge(mechanisms=(Unprotected(num_steps=2),), max_grad_norm=None, noise_source="none")
    asked(**{"privacy.enabled": False}).check(unprotected)
    asked(**{"training.batch-size": 7}).check(
        charge(mechanisms=(replace(NOISY, sample_rate=Fraction(7, 50)),), normaliser=Fraction(7))
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"purpose": "statistics"}, "purpose"),
        ({"max_grad_norm": 0.9}, "max_grad_norm"),
        ({"max_grad_norm": None}, "max_grad_norm"),
        ({"normaliser": Fraction(4)}, "normaliser"),
        ({"sampler": "shuffle"}, "sampler"),
        ({"noise_source": "reproducible"}, "noise_source"),
        ({"noise_source": "none"}, "noise_source"),
        ({"input_model": "b" * 64}, "input_model"),
        ({"server_nonce": "b" * 64}, "server_nonce"),
        ({"mechanisms": (replace(NOISY, num_steps=1),)}, "mechanism"),
        ({"mechanisms": (replace(NOISY, sample_rate=Fraction(1, 11)),)}, "mechanism"),
        ({"mechanisms": (NOISY, NOISY)}, "mechanism"),
        ({"mechanisms": (Unprotected(num_steps=2),)}, "mechanism"),
        ({"mechanisms": (Gaussian(noise_multiplier=1.5, num_steps=2),)}, "mechanism"),
    ],
)
def test_anything_else_is_refused_by_name(changes, reason):
    with pytest.raises(MessageError, match=f"another {reason} than was proposed") as caught:
        asked().check(charge(**changes))
    assert "\n" not in str(caught.value)


def test_fixed_noise_is_held_to_the_number():
    with pytest.raises(MessageError, match="mechanism"):
        asked(**{"privacy.noise-multiplier": 1.6}).check(charge())
    with pytest.raises(MessageError, match="max_grad_norm"):
        asked(**{"privacy.enabled": False}).check(charge())
