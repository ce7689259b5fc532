"""Every limit of a site's policy, at its edge and just outside."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from client.limits import Limits
from client.policy import ClientPolicy
from common.config import TrainingSettings
from common.errors import PolicyRefused
from common.ledger import Genesis, SigningKey, parse_lines
from common.ledger.chain import LedgerView
from common.ledger.lines import NO_PREVIOUS, write_line
from common.privacy.budget import PrivacyBudget
from common.protocol import Proposal

LIMITS = Limits(
    least_noise_multiplier=0.8,
    most_steps=5,
    largest_clip=1.5,
    least_examples=100,
    releases=frozenset({"train"}),
)
POLICY = ClientPolicy(budget=PrivacyBudget(epsilon=8.0, delta=1e-5), limits=LIMITS)
PROPOSAL = Proposal(
    training=TrainingSettings(sample_rate=0.1, local_steps=5),
    private=True,
    max_grad_norm=1.5,
    noise_multiplier=0.8,
    target_epsilon=None,
    planned_rounds=1,
)


def ledger(num_examples: int = 100) -> LedgerView:
    key = SigningKey.generate()
    genesis = Genesis.new(
        key,
        delta=1e-5,
        budget_epsilon=8.0,
        filter_order=None,
        num_examples=num_examples,
        commitment="e" * 64,
    )
    return parse_lines([write_line(genesis, sequence=0, previous=NO_PREVIOUS, key=key)])


def permit(proposal: Proposal, policy: ClientPolicy = POLICY, num_examples: int = 100):
    return policy.permit(proposal, ledger(num_examples), run="run")


def test_what_lies_on_every_edge_is_permitted():
    assert permit(PROPOSAL).mechanism.noise_multiplier == 0.8


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"noise_multiplier": 0.4}, "noise multiplier 0.4 is below its policy's 0.8"),
        ({"noise_multiplier": 0.0}, "noise multiplier 0 is below its policy's 0.8"),
        ({"noise_multiplier": math.nan}, "noise multiplier nan is below its policy's 0.8"),
        ({"noise_multiplier": -5.0}, "noise multiplier -5 is below its policy's 0.8"),
        ({"max_grad_norm": 1e9}, "a clip of 1e+09 is outside its policy's 0 to 1.5"),
        ({"max_grad_norm": 0.0}, "a clip of 0 is outside"),
        ({"max_grad_norm": math.nan}, "a clip of nan is outside"),
        ({"max_grad_norm": math.inf}, "a clip of inf is outside"),
        (
            {"training": TrainingSettings(sample_rate=0.1, local_steps=1_000_000)},
            "1000000 steps a round are above its policy's 5",
        ),
        (
            {"training": TrainingSettings(sample_rate=0.1, local_steps="off", local_epochs=1)},
            "10 steps a round are above its policy's 5",
        ),
        ({"private": False}, "unprotected training was proposed, but this ledger is for private training"),
        ({"noise_multiplier": None, "planned_rounds": 0}, "0 planned rounds"),
        ({"noise_multiplier": None, "planned_rounds": 10**15}, "1000000000000000 planned rounds"),
    ],
)
def test_what_lies_outside_is_refused_in_words(changes, words):
    with pytest.raises(PolicyRefused) as refused:
        permit(replace(PROPOSAL, **changes))
    assert words in str(refused.value)


def test_too_few_records_take_no_part():
    with pytest.raises(PolicyRefused, match="it holds 99 examples, below its policy's least of 100"):
        permit(PROPOSAL, num_examples=99)


def test_nothing_leaves_for_a_purpose_that_is_not_permitted():
    policy = replace(POLICY, limits=replace(LIMITS, releases=frozenset()))
    with pytest.raises(PolicyRefused, match=r"a release for 'train' is not among .* \(nothing\)"):
        permit(PROPOSAL, policy)


def test_noise_that_is_left_to_the_client_is_never_below_its_least():
    modest = replace(PROPOSAL, noise_multiplier=None)
    free = permit(modest, replace(POLICY, limits=None)).mechanism
    assert free.noise_multiplier < 0.8  # the budget alone would permit less
    assert permit(modest).mechanism.noise_multiplier == 0.8
    costly = replace(modest, planned_rounds=500)
    assert permit(costly).mechanism.noise_multiplier > 0.8
