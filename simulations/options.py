"""Options that several commands have, each with one meaning and one help text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from common.config import Settings, parse_assignment

ConfigOption = Annotated[Path | None, typer.Option(help="Settings file (TOML); options override it.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Any setting; repeatable.")
]
DatasetOption = Annotated[str | None, typer.Option(help="synthetic, cifar10, cifar100 or folder.")]
DataDirOption = Annotated[str | None, typer.Option(help="Image folder with train/<class>/, or cache.")]
ModelOption = Annotated[
    str | None,
    typer.Option(
        help="patch-linear, finetune:resnet18 (or another network of torchvision), scatter-linear, "
        "scatter-cnn, cnn-patches, cnn-small, cnn, cnn-tanh, resnet-gn, wrn-16-4."
    ),
]
RoundsOption = Annotated[int | None, typer.Option(help="Number of rounds.")]
EpsilonOption = Annotated[float | None, typer.Option(help="Lifetime budget of each client.")]
DeltaOption = Annotated[str | None, typer.Option(help='A number, or "auto".')]
NoiseMultiplierOption = Annotated[
    str | None, typer.Option(help='A number, or "auto" to spend the budget over all rounds.')
]
NoPrivacyOption = Annotated[bool, typer.Option("--no-privacy", help="Neither clip nor noise.")]
SeedOption = Annotated[int | None, typer.Option(help="Partitions, initial weights, cohorts; not noise.")]
DeviceOption = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
OutOption = Annotated[str | None, typer.Option(help="Run folder; must be new or empty.")]

SETTING_OF = {
    "dataset": "data.dataset",
    "data_dir": "data.data-dir",
    "clients": "federation.num-clients",
    "rounds": "federation.num-server-rounds",
    "partitioner": "data.partitioner",
    "alpha": "data.alpha",
    "model": "model.name",
    "epsilon": "privacy.epsilon",
    "delta": "privacy.delta",
    "noise_multiplier": "privacy.noise-multiplier",
    "workers": "runtime.workers",
    "seed": "runtime.seed",
    "device": "runtime.device",
    "out": "runtime.out",
    "ledgers": "runtime.ledgers",
}
"""The setting that each option is a short name for."""

_MAY_BE_NUMBERS = ("delta", "noise_multiplier", "workers")


def settings_given(values: Mapping[str, Any], *, but: str = "") -> dict[str, Settings]:
    """Return, of a command's arguments, the options that were given, each with its setting.

    A text that may be a number is read like one of --set.

    Args:
        values: the arguments by name, whatever else is among them.
        but: an argument that means something else to this command.
    """
    return {
        name: parse_assignment(f"{key}={values[name]}") if name in _MAY_BE_NUMBERS else {key: values[name]}
        for name, key in SETTING_OF.items()
        if name != but and values.get(name) is not None
    }


def all_settings(
    given: Mapping[str, Settings], assignments: Sequence[str] | None, *, no_privacy: bool
) -> list[Settings]:
    """Return what options, --set and --no-privacy set, in this order."""
    settings = [*given.values(), *(parse_assignment(text) for text in assignments or ())]
    return [*settings, {"privacy.enabled": False}] if no_privacy else settings
