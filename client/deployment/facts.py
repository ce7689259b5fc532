"""What a real client knows of itself: no server has a say in any of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.policy_file import PolicyFile
from common.config import RunConfig, Settings, resolve
from common.errors import ConfigError
from common.run_folder import LedgerHome

_PARTITION = re.compile(r"(\d{1,6})/(\d{1,6})")
_SETTABLE = frozenset(
    {
        "model.image-size",
        "model.weights",
        "runtime.device",
        "runtime.feature-cache",
        "runtime.max-physical-batch-size",
        "runtime.seed",
        "runtime.workers",
    }
)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """A client's number, data, state and policy.

    Args:
        number: the client's number in the federation, from 0 on.
        config: the site's own settings: `data`, `privacy` (its ledger's terms) and how it computes.
        whole_folder: whether its records are all of a folder's training images, or a partition's.
        home: where its ledger, keys and kept updates lie.
        policy: what it permits.
    """

    number: int
    config: RunConfig
    whole_folder: bool
    home: LedgerHome
    policy: PolicyFile

    @property
    def kept(self) -> Path:
        """The folder of finished updates."""
        return self.home.root / "updates"


def own_folder(data_dir: Path, number: int, settings: Settings, state: Path, policy: PolicyFile) -> Facts:
    """Return the facts of a client whose records are all of one folder's training images.

    Raises:
        ConfigError: when a setting is not the client's own to make.
    """
    named = {"data.dataset": "folder", "data.data-dir": str(data_dir.expanduser().absolute())}
    return _facts(number, settings | named, state, policy, whole_folder=True)


def partition_of(text: str, number: int | None, settings: Settings, state: Path, policy: PolicyFile) -> Facts:
    """Return the facts of a client that holds partition I of N of a named data set.

    Args:
        text: `I/N`, I from 0 to N - 1.
        number: the client's number, or None for I.

    Raises:
        ConfigError: when the text is not a partition, or a setting is not the client's own to make.
    """
    match = _PARTITION.fullmatch(text)
    index, count = (int(part) for part in match.groups()) if match else (0, 0)
    if index >= count:
        raise ConfigError(f"--partition {text!r} is not I/N with I from 0 to N - 1, such as 0/3")
    named = {"federation.num-clients": count}
    if number not in (None, index):
        raise ConfigError(f"--partition {text} is client {index}, not {number}: leave out --number")
    return _facts(index, settings | named, state, policy, whole_folder=False)


def _facts(
    number: int, settings: Mapping[str, Any], state: Path, policy: PolicyFile, *, whole_folder: bool
) -> Facts:
    terms: Settings = {
        "privacy.epsilon": policy.epsilon,
        "privacy.delta": policy.delta,
        "privacy.accounting": policy.accounting,
        "privacy.amend-ledgers": policy.amend_ledgers,
    }
    if policy.model_names:
        terms["model.name"] = policy.model_names[0]
    if (weights := settings.get("model.weights", "auto")) != "auto":
        terms["model.weights"] = str(Path(str(weights)).expanduser().absolute())
    return Facts(
        number=number,
        config=resolve(dict(settings), terms),
        whole_folder=whole_folder,
        home=LedgerHome(state.expanduser().absolute()),
        policy=policy,
    )


def check_settable(settings: Settings) -> Settings:
    """Return settings of `--set` if they are a client's own to make.

    Raises:
        ConfigError: names the one that is not.
    """
    for name in settings:
        if not name.startswith("data.") and name not in _SETTABLE:
            raise ConfigError(
                f"--set {name} is not a client's own to make: set data.* or {', '.join(sorted(_SETTABLE))}; "
                "what it permits is in its policy, what is trained its server proposes"
            )
    return settings
