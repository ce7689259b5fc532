"""Where a run's files will lie, or do: settled before anything is written or started."""

from __future__ import annotations

import time
from pathlib import Path

from common.config import RunConfig, Settings, read_toml, resolve
from common.errors import CheckpointError, ConfigError
from common.run_folder import RunFolder


def new_root(config: RunConfig) -> Path:
    """Return the folder of a run that begins, absolute; it need not exist.

    Raises:
        ConfigError: when `runtime.out` names a file, another run, or a folder that holds something.
    """
    out = config.runtime.out
    if out == "auto":
        out = f"runs/{time.strftime('%Y%m%d-%H%M%S')}-{config.data.dataset}"
    root = Path(out).expanduser().resolve()
    shown = Path(out)
    if root.is_file():
        raise ConfigError(f"{shown} is a file: choose a folder for --out that is new or empty")
    if RunFolder(root).config.exists():
        raise ConfigError(f"{shown} holds a run: continue it with --resume {shown}, or choose another --out")
    if root.is_dir() and any(root.iterdir()):
        raise ConfigError(f"{shown} is not empty: choose a folder for --out that is new or empty")
    return root


def with_absolute_paths(config: RunConfig, root: Path) -> RunConfig:
    """Name the folders of a run so that Flower's processes, wherever they run, find them.

    Raises:
        ConfigError: when `runtime.ledgers` or `runtime.feature-cache` names a file.
    """
    ledgers = config.runtime.ledgers
    home = Path(ledgers).expanduser().resolve() if ledgers else None
    if home is not None and home.exists() and not home.is_dir():
        raise ConfigError(f"{ledgers} is a file: choose a folder for --ledgers, new or that of earlier runs")
    cache = config.runtime.feature_cache
    if cache and Path(cache).expanduser().is_file():
        raise ConfigError(f"{cache} is a file: choose a folder for runtime.feature-cache")
    paths = {
        "out": str(root),
        "ledgers": str(home) if home else "",
        "feature_cache": str(Path(cache).expanduser().resolve()) if cache else "",
    }
    model, weights = config.model, config.model.weights
    if weights != "auto":
        model = model.model_copy(update={"weights": str(Path(weights).expanduser().absolute())})
    runtime = config.runtime.model_copy(update=paths)
    return config.model_copy(update={"model": model, "runtime": runtime})


def settings_of(root: Path, changes: Settings | None = None) -> RunConfig:
    """Read the settings of a run folder, wherever it has been moved to.

    Raises:
        CheckpointError: when it is not a run folder.
    """
    folder = RunFolder(root.expanduser().resolve())
    if not folder.config.exists():
        raise CheckpointError(f"{root} is not a run folder (no config.toml in it): name the folder of a run")
    return resolve(read_toml(folder.config), changes or {}, {"runtime.out": str(folder.root)})


def settings_to_resume(root: Path, changes: Settings | None = None) -> RunConfig:
    """Read the settings of a run that is to go on.

    Raises:
        CheckpointError: when it is not a run folder, or only looks like one.
    """
    config = settings_of(root, changes)
    if RunFolder(Path(config.runtime.out)).personal.exists():
        raise CheckpointError(f"{root} holds a personal model, which is no run: name the folder of a run")
    return config
