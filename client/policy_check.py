"""A policy held against what the client would refuse at its start, before there are images or a ledger."""

from __future__ import annotations

from pathlib import Path

from client.policy_file import PolicyFile, read_policy
from common.errors import ConfigError
from common.privacy.budget import check_delta


def check_policy(path: Path) -> PolicyFile:
    """Read a policy that the client can start with, on as few images as it permits.

    Names of models are looked at only where what trains is installed: without it no client starts.

    Raises:
        ConfigError: as `read_policy`; and when delta is too large, or a model is none.
    """
    policy = read_policy(path)
    try:
        if policy.delta != "auto":
            check_delta(policy.delta, policy.least_examples)
        check_models(policy)
    except ModuleNotFoundError:
        return policy
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return policy


def check_models(policy: PolicyFile) -> None:
    """Refuse a policy that permits a model which is none.

    Raises:
        ConfigError: names the model, and those that there are.
        ModuleNotFoundError: when what trains is not installed.
    """
    from common.models import MODELS
    from common.models.finetune.backbone import EXAMPLE, backbone_of, is_finetune

    for name in policy.model_names:
        if is_finetune(name):
            backbone_of(name)
        elif name not in MODELS:
            known = ", ".join([*MODELS, EXAMPLE])
            raise ConfigError(f"permitted-models names {name!r}, which is not a model: give some of {known}")
