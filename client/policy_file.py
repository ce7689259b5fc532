"""policy.toml: what a site permits, written by the site and read strictly.

The server proposes, the file disposes: what it does not permit is refused, and what it does not say is not
permitted.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from client.limits import Limits
from common.config.base import Norm, PositiveFloat, PositiveInt, Section
from common.config.toml_file import read_tree
from common.errors import ConfigError
from common.privacy.budget import PrivacyBudget

if TYPE_CHECKING:
    from client.policy import ClientPolicy

INSTALLED = "installed"
"""The app that this installation would build itself."""

_APP = re.compile(rf"{INSTALLED}|[0-9a-f]{{64}}")


def _app(value: str) -> str:
    if not _APP.fullmatch(value):
        raise ValueError(value)
    return value


class PolicyFile(Section):
    """A site's own limits on what a server may ask of it."""

    epsilon: PositiveFloat = Field(description="Lifetime budget of the site's data set.")
    delta: Annotated[float, Field(gt=0, lt=1)] | Literal["auto"] = Field(
        "auto", description="Never above 1/n."
    )
    accounting: Literal["adaptive", "fixed"] = Field("adaptive", description="Of a ledger's whole life.")
    least_noise_multiplier: Annotated[float, Field(ge=0.01, le=1000)] = Field(
        description="Least noise over clip of any step."
    )
    most_steps_a_round: PositiveInt = Field(description="Most steps that one round may take.")
    largest_clip: Norm = Field(description="Largest L2 clip of each record's gradient.")
    least_examples: PositiveInt = Field(description="Fewest records with which the site takes part.")
    permitted_releases: list[Literal["train"]] = Field(description="Purposes for which updates may leave.")
    permitted_models: list[str] = Field(description="Models that may be trained here.")
    permitted_apps: list[Annotated[str, AfterValidator(_app)]] = Field(
        [INSTALLED], description="Bundles of code from which a server may speak to this client."
    )
    amend_ledgers: bool = Field(False, description="Go on when the data set has changed.")
    permit_reproducible_noise: bool = Field(False, description="For tests only: NOT PRIVATE.")

    @property
    def limits(self) -> Limits:
        """The bounds on every single proposal."""
        return Limits(
            least_noise_multiplier=self.least_noise_multiplier,
            most_steps=self.most_steps_a_round,
            largest_clip=self.largest_clip,
            least_examples=self.least_examples,
            releases=frozenset(self.permitted_releases),
        )

    @property
    def model_names(self) -> tuple[str, ...]:
        """The models that may be trained, without the digests of weights that some of them must have."""
        return tuple(entry.partition("@")[0] for entry in self.permitted_models)

    def permits_model(self, name: str, weights_digest: str) -> bool:
        """Say whether a model may be trained, on a backbone whose weights have a digest."""
        return not {name, f"{name}@{weights_digest}"}.isdisjoint(self.permitted_models)

    def for_ledger(self, budget: PrivacyBudget) -> ClientPolicy:
        """Return what the client enforces on a ledger: of the ledger's budget and the file's, the smaller."""
        from client.policy import ClientPolicy

        smaller = PrivacyBudget(epsilon=min(self.epsilon, budget.epsilon), delta=budget.delta)
        return ClientPolicy(budget=smaller, limits=self.limits)


TAKES = {
    "epsilon": "a finite number above 0",
    "delta": 'a number above 0 and below 1, or "auto" (the smaller of 1e-5 and 1/(10 n))',
    "accounting": 'one of "adaptive", "fixed"',
    "least-noise-multiplier": "a number at least 0.01 and at most 1000",
    "most-steps-a-round": "a whole number at least 1",
    "largest-clip": "a number at least 1e-06 and at most 1000000.0",
    "least-examples": "a whole number at least 1",
    "permitted-releases": 'a list of "train", or an empty one to permit none',
    "permitted-models": "a list of models by name, or an empty one to permit none",
    "permitted-apps": f'a list of "{INSTALLED}" and SHA-256 sums of bundles (64 digits 0-9a-f)',
    "amend-ledgers": "true or false",
    "permit-reproducible-noise": "true or false",
}
"""What each key takes, in words."""


def read_policy(path: Path) -> PolicyFile:
    """Read a policy.

    Raises:
        ConfigError: when the file is missing, unreadable, not TOML, incomplete, or holds anything else than a
            policy; names the key, its value, what is permitted and the nearest valid name.
    """
    tree = read_tree(path, missing="without a policy everything is refused, write one")
    _refuse_unknown(path, tree)
    try:
        return PolicyFile.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{path}: {_one_line(error)}") from None


def _refuse_unknown(path: Path, tree: dict[str, Any]) -> None:
    for key in tree:
        if key not in TAKES:
            nearest = difflib.get_close_matches(key, TAKES, n=1, cutoff=0.4)
            hint = f"did you mean {nearest[0]}?" if nearest else f"a policy has {', '.join(TAKES)}"
            raise ConfigError(f"{path}: unknown key {key}: {hint}")


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    key = str(first["loc"][0]).replace("_", "-")
    if first["type"] == "missing":
        return f"{key} is missing, and what a policy does not permit is refused: give {TAKES[key]}"
    return f"{key} = {first['input']!r} is not permitted: give {TAKES[key]}"
