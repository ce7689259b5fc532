"""Open the report in Chromium and read it as a person would."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from common.audit import audit
from common.audit.wording import epsilon_text
from tests.run_folders import RunPlan, write_run

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed on this machine")


def _chromium(profile: Path, *arguments: str) -> str:
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout


def _text_of(dom: str, name: str) -> str:
    match = re.search(rf'id="{name}"[^>]*>(.*?)</(?:h1|dd|p)>', dom, re.DOTALL)
    assert match is not None
    return " ".join(re.sub(r"<[^>]+>", " ", match[1]).split())


def test_verdict_and_epsilon_are_on_the_page(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", RunPlan())
    audit(folder.root)
    dom = _chromium(tmp_path / "profile", "--dump-dom", f"file://{folder.root}/report.html")
    epsilon = json.loads((folder.root / "report.json").read_text(encoding="utf-8"))["epsilon"]
    shown = epsilon_text(epsilon)
    assert _text_of(dom, "epsilon") == shown
    assert (
        _text_of(dom, "verdict") == f"Verified: no client spent more than epsilon {shown} of its 8.00 budget"
    )


def test_a_hostile_class_name_does_nothing(tmp_path: Path) -> None:
    hostile = "</title></svg><img src=x onerror=\"document.title='taken'\">"
    folder = write_run(tmp_path / "run", RunPlan(classes=(hostile, "b")))
    audit(folder.root)
    dom = _chromium(tmp_path / "profile", "--dump-dom", f"file://{folder.root}/report.html")
    assert "<img" not in dom
    assert "<title>taken" not in dom


def test_the_page_can_be_photographed_narrow_and_wide(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", RunPlan())
    audit(folder.root)
    for width in (420, 1200):
        picture = tmp_path / f"report-{width}.png"
        address = f"file://{folder.root}/report.html"
        _chromium(tmp_path / "profile", f"--screenshot={picture}", f"--window-size={width},900", address)
        assert picture.stat().st_size > 20_000
