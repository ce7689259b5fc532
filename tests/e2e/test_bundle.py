"""`flwr build`: what travels to every client of a Flower federation."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

from common.code import CONSTANTS

ROOT = Path(__file__).parents[2]
PACKAGES = ("server", "client", "common")


def test_the_bundle_holds_the_apps_and_nothing_else(tmp_path):
    built = subprocess.run(
        [Path(sys.executable).parent / "flwr", "build", "--app", ROOT],
        check=False,
        cwd=tmp_path,
        env={
            **os.environ,
            "FLWR_HOME": str(tmp_path / "home"),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert built.returncode == 0, built.stderr
    (bundle,) = tmp_path.glob("*.fab")
    sources = {path.relative_to(ROOT).as_posix() for name in PACKAGES for path in (ROOT / name).rglob("*.py")}
    expected = {*sources, *CONSTANTS, "pyproject.toml", ".info/CONTENT"}
    assert set(zipfile.ZipFile(bundle).namelist()) == expected
    assert bundle.stat().st_size < 10 * 2**20
