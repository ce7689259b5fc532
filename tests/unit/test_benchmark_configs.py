"""Every settings file beside the benchmarks is one that a run takes."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.config import read_toml, resolve
from common.models import model_spec

FILES = sorted((Path(__file__).parents[2] / "benchmarks" / "configs").glob("*.toml"))


@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_a_settings_file_is_permitted_and_trains_the_model_that_it_is_named_after(file: Path) -> None:
    config = resolve(read_toml(file))
    assert config.model.name == model_spec(file.stem).name
    assert config.stamp == ""


def test_there_are_settings_files() -> None:
    assert {file.stem for file in FILES} >= {"cnn-small", "cnn-patches"}
