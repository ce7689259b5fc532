"""Fixtures that several test files need: a tiny folder of images, and settings for it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import settings

from client.site import close_sites
from common.config import RunConfig, resolve
from tests.made_images import make_images

settings.register_profile("fedledger", deadline=None, derandomize=True)  # machines are busy at times
settings.load_profile("fedledger")

TRAIN, TEST = 24, 5
"""Images of each of the two classes."""


@pytest.fixture(autouse=True)
def _our_loggers_are_heard() -> None:
    """Undo what a command that ran in this process did to the loggers: tests after it read what is logged."""
    logger = logging.getLogger("fedledger")
    logger.setLevel(logging.NOTSET)
    logger.propagate, logger.handlers = True, []


@pytest.fixture(scope="session")
def tiny_images(tmp_path_factory) -> Path:
    """Return a folder of 48 training and 10 test images of 32 x 32 pixels, in the classes cat and dog."""
    return make_images(tmp_path_factory.mktemp("tiny-images"), {"train": TRAIN, "test": TEST})


@pytest.fixture
def tiny_settings(tiny_images, tmp_path) -> Callable[..., RunConfig]:
    """Return a function from a run folder's name and settings to a run of two clients of 24 images each."""

    def make(out: str = "run", changes: dict[str, Any] | None = None) -> RunConfig:
        return resolve(
            {
                "federation.num-clients": 2,
                "federation.num-server-rounds": 3,
                "data.dataset": "folder",
                "data.data-dir": str(tiny_images),
                "data.partitioner": "iid",
                "data.min-partition-size": 1,
                "training.sample-rate": 0.2,
                "training.learning-rate": 1.0,
                "privacy.epsilon": 8.0,
                "runtime.workers": 1,
                "runtime.device": "cpu",
                "runtime.out": str(tmp_path / out),
            },
            changes or {},
        )

    yield make
    for folder in tmp_path.iterdir():
        close_sites(folder)


@pytest.fixture
def flower_identity() -> None:
    """Give this process the identity that Flower's runtime would, so that it may make messages."""
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
