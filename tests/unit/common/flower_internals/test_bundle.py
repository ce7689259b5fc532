"""The bundle that the server hands to Flower: built from what is installed (pinned to flwr 1.41.x)."""

from __future__ import annotations

import inspect
import io
import tomllib
import zipfile

from common.code import installed_sources
from common.flower_internals.bundle import app_description, build_bundle


def test_the_builder_is_there_and_takes_what_it_took():
    from flwr.cli.build import build_fab_from_files

    assert list(inspect.signature(build_fab_from_files).parameters) == ["files"]


def test_a_bundle_is_built_the_same_twice():
    assert build_bundle() == build_bundle()


def test_it_holds_the_installed_source_and_no_more():
    with zipfile.ZipFile(io.BytesIO(build_bundle())) as archive:
        assert set(archive.namelist()) == {*installed_sources(), "pyproject.toml", ".info/CONTENT"}
        assert archive.read("common/code.py") == installed_sources()["common/code.py"]


def test_its_description_is_that_of_the_source_tree(pytestconfig):
    project = tomllib.loads((pytestconfig.rootpath / "pyproject.toml").read_text())
    made = tomllib.loads(app_description())
    assert made["tool"]["flwr"]["app"] == project["tool"]["flwr"]["app"]
    assert made["project"] == {"name": project["project"]["name"], "version": project["project"]["version"]}


def test_flower_accepts_it():
    from flwr.common.config import validate_config

    assert validate_config(tomllib.loads(app_description()))[0]
