"""policy.toml: read strictly, explained in words."""

from __future__ import annotations

import subprocess
import sys

import pytest

from client.policy_file import TAKES, PolicyFile, read_policy
from client.policy_text import explain
from common.errors import ConfigError
from common.privacy.budget import PrivacyBudget
from tests.command_line import run_command

FULL = {
    "epsilon": "4.0",
    "delta": "1e-6",
    "accounting": '"fixed"',
    "least-noise-multiplier": "0.8",
    "most-steps-a-round": "20",
    "largest-clip": "1.5",
    "least-examples": "100",
    "permitted-releases": '["train"]',
    "permitted-models": '["cnn", "cnn-tanh"]',
    "permitted-apps": f'["installed", "{"a" * 64}"]',
    "amend-ledgers": "true",
    "permit-reproducible-noise": "true",
}
OPTIONAL = {"delta", "accounting", "permitted-apps", "amend-ledgers", "permit-reproducible-noise"}


@pytest.fixture
def read(tmp_path):
    def reader(**changes: str | None) -> PolicyFile:
        values = {**FULL, **{name.replace("_", "-"): value for name, value in changes.items()}}
        lines = [f"{name} = {value}" for name, value in values.items() if value is not None]
        file = tmp_path / "policy.toml"
        file.write_text("\n".join(lines))
        return read_policy(file)

    return reader


def test_every_key_arrives(read):
    policy = read()
    assert (policy.epsilon, policy.delta, policy.accounting) == (4.0, 1e-6, "fixed")
    limits = policy.limits
    assert (limits.least_noise_multiplier, limits.most_steps, limits.largest_clip) == (0.8, 20, 1.5)
    assert (limits.least_examples, limits.releases) == (100, frozenset({"train"}))
    assert policy.permitted_models == ["cnn", "cnn-tanh"]
    assert policy.permitted_apps == ["installed", "a" * 64]
    assert policy.amend_ledgers
    assert policy.permit_reproducible_noise


def test_a_key_that_is_there_twice_is_named(read, tmp_path):
    read()
    file = tmp_path / "policy.toml"
    file.write_text(file.read_text() + "\nepsilon = 8.0\n")
    line = f"line {len(FULL) + 1} sets epsilon, which has a value already: keep one of the two"
    with pytest.raises(ConfigError, match=line):
        read_policy(file)


def test_what_is_not_said_is_not_permitted(read):
    policy = read(**{name.replace("-", "_"): None for name in OPTIONAL})
    assert not policy.amend_ledgers
    assert not policy.permit_reproducible_noise
    assert policy.permitted_apps == ["installed"]
    assert policy.delta == "auto"
    assert policy.accounting == "adaptive"


def test_the_words_name_every_key():
    keys = [name.replace("_", "-") for name in PolicyFile.model_fields]
    assert list(TAKES) == keys
    assert list(FULL) == keys


@pytest.mark.parametrize("key", sorted(FULL.keys() - OPTIONAL))
def test_a_limit_that_is_left_out_is_asked_for(read, key):
    with pytest.raises(ConfigError) as refused:
        read(**{key.replace("-", "_"): None})
    assert f"{key} is missing, and what a policy does not permit is refused: give {TAKES[key]}" in str(
        refused.value
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epsilon", "0"),
        ("epsilon", "inf"),
        ("epsilon", "nan"),
        ("epsilon", '"4"'),
        ("epsilon", "true"),
        ("delta", "0"),
        ("delta", "1.0"),
        ("delta", '"small"'),
        ("accounting", '"hopeful"'),
        ("least-noise-multiplier", "0"),
        ("least-noise-multiplier", "nan"),
        ("most-steps-a-round", "0"),
        ("most-steps-a-round", "2.5"),
        ("largest-clip", "0"),
        ("largest-clip", "inf"),
        ("least-examples", "0"),
        ("permitted-releases", '["raw-metrics"]'),
        ("permitted-releases", '"train"'),
        ("permitted-models", "[1]"),
        ("permitted-apps", '["ABCDEF"]'),
        ("permitted-apps", '["any"]'),
        ("amend-ledgers", "1"),
        ("permit-reproducible-noise", '"yes"'),
    ],
)
def test_a_value_out_of_range_is_named_with_what_is_permitted(read, key, value):
    with pytest.raises(ConfigError) as refused:
        read(**{key.replace("-", "_"): value})
    text = str(refused.value)
    assert f"{key} = " in text
    assert f"is not permitted: give {TAKES[key]}" in text
    assert "\n" not in text


def test_a_key_that_is_none_is_refused_with_the_nearest(read):
    with pytest.raises(ConfigError, match="unknown key largest-clipping: did you mean largest-clip"):
        read(largest_clipping="1.0")


def test_a_file_that_is_missing_or_not_toml_is_told(tmp_path):
    with pytest.raises(ConfigError, match="does not exist: without a policy everything is refused"):
        read_policy(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("epsilon =")
    with pytest.raises(ConfigError, match="not valid TOML"):
        read_policy(tmp_path / "bad.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_policy(tmp_path / "binary.toml")


def test_the_smaller_budget_holds(read):
    policy = read()
    assert policy.for_ledger(PrivacyBudget(epsilon=9.0, delta=1e-5)).budget == PrivacyBudget(
        epsilon=4.0, delta=1e-5
    )
    assert policy.for_ledger(PrivacyBudget(epsilon=3.0, delta=1e-5)).budget.epsilon == 3.0


def test_the_explanation_names_every_limit(read):
    text = explain(read())
    for word in ("epsilon 4", "1e-06", "life", "train", "cnn, cnn-tanh", "20 steps", "0.8", "1.5", "100"):
        assert word in text
    assert "a" * 64 in text
    assert "NOT PRIVATE" in text
    assert "changed data set" in text
    modest = explain(read(amend_ledgers=None, permit_reproducible_noise=None, permitted_apps="[]"))
    assert "NOT PRIVATE" not in modest
    assert "every message is refused" in modest
    closed = explain(read(permitted_models="[]", permitted_releases="[]"))
    assert "every run is refused" in closed
    assert "every round is refused" in closed


def test_policy_check_explains_or_refuses(read, tmp_path):
    read()
    told = run_command("policy", "check", str(tmp_path / "policy.toml"))
    assert told.status == 0
    assert "at most epsilon 4 at delta 1e-06" in told.out
    (tmp_path / "policy.toml").write_text("epsilon = -1")
    refused = run_command("policy", "check", str(tmp_path / "policy.toml"))
    assert refused.status == 2
    assert "epsilon = -1 is not permitted" in refused.err


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"permitted_models": '["cnn", "cnnn"]'},
            "permitted-models names 'cnnn', which is not a model: give",
        ),
        ({"permitted_models": '["finetune:resnet81"]'}, "unknown model 'finetune:resnet81'"),
        (
            {"delta": "0.5"},
            "delta is 0.5, permitted for 100 examples is above 0 and at most 1/100: set delta =",
        ),
    ],
)
def test_policy_check_refuses_what_the_client_would(read, tmp_path, changes, words):
    read(**changes)
    outcome = run_command("policy", "check", str(tmp_path / "policy.toml"))
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith(f"fedledger: {tmp_path}/policy.toml: {words}")


def test_policy_check_needs_nothing_that_trains(read, tmp_path, monkeypatch):
    read(permitted_models='["cnnn"]')
    monkeypatch.setitem(sys.modules, "common.models", None)
    assert run_command("policy", "check", str(tmp_path / "policy.toml")).status == 0


def test_reading_a_policy_needs_nothing_that_trains():
    code = "import sys, client.policy_text; print(*[name in sys.modules for name in ('torch', 'flwr')])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["False", "False"]
