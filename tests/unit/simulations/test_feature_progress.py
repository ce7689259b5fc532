"""What a person sees of features that are being computed."""

from __future__ import annotations

import logging
from io import StringIO

from rich.console import Console

from simulations.progress import FeatureProgress

LOG = logging.getLogger("fedledger.features")


def test_it_says_that_features_are_computed_and_how_far_that_is():
    console = Console(file=StringIO(), width=200)
    progress = FeatureProgress(console)
    level = LOG.level
    progress.begin()
    for _ in range(2):
        LOG.info("computing the features of 4,000 images once")
        for _ in range(2):
            LOG.debug("features", extra={"images": 3000})
    LOG.warning("features cannot be kept (OSError)")
    progress.end()
    LOG.warning("not shown any more")
    assert (LOG.level, progress in LOG.handlers) == (level, False)
    assert console.file.getvalue().splitlines() == [
        "Computing the features of all images, once.",
        "features of 6,000 images are there",
        "features of 12,000 images are there",
        "features cannot be kept (OSError)",
    ]


def test_a_root_logger_that_a_library_gave_a_handler_repeats_nothing(monkeypatch):
    heard: list[logging.LogRecord] = []
    root, elsewhere = logging.getLogger(), logging.Handler()
    monkeypatch.setattr(logging.getLogger("fedledger"), "propagate", True)  # where no command has begun logs
    elsewhere.emit = heard.append  # type: ignore[method-assign]
    root.addHandler(elsewhere)
    progress = FeatureProgress(Console(file=StringIO()))
    try:
        progress.begin()
        LOG.info("computing")
        LOG.debug("features", extra={"images": 64})
        assert not heard
        progress.end()
        LOG.warning("as before")
        assert len(heard) == 1
    finally:
        progress.end()
        root.removeHandler(elsewhere)
