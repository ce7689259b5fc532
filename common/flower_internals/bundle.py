"""The app's bundle, from whatever installation this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from itertools import groupby

_APP = """\
[project]
name = "fedledger"
version = "{version}"

[tool.flwr.app]
publisher = "fedledger"
fab-include = ["server/**/*.py", "client/**/*.py", "common/**/*.py", "common/models/patches/*.json"]

[tool.flwr.app.components]
serverapp = "server.app:app"
clientapp = "client.app:app"
"""


def build_bundle() -> bytes:
    """Build the app's bundle from the source that is installed, as `flwr run` would from a source tree."""
    from flwr.cli.build import build_fab_from_files

    from common.code import installed_sources

    files = {**installed_sources(), "pyproject.toml": app_description().encode()}
    return bytes(build_fab_from_files(files)[0])


def app_description() -> str:
    """Return the pyproject.toml of the bundle: which app it is, and every setting with its default."""
    from common.config import RunConfig
    from common.config.text import as_toml

    try:
        installed = version("fedledger")
    except PackageNotFoundError:  # run from a source tree that nobody installed
        installed = "0"
    settings = ((*name.partition(".")[::2], value) for name, value in RunConfig().flat().items())
    parts = [_APP.format(version=installed)]
    for section, entries in groupby(settings, key=lambda entry: entry[0]):
        lines = [f"{key} = {as_toml(value)}" for _, key, value in entries]
        parts.append("\n".join([f"[tool.flwr.app.config.{section}]", *lines, ""]))
    return "\n".join(parts)
