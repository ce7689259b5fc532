"""The compiled kernels: found where they were built, bound to their source, and careful with memory."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import client.kernels
from client import kernels
from client.kernels import library

ROOT = Path(__file__).parents[3]
FOLDER = Path(next(iter(client.kernels.__path__)))

built = pytest.mark.skipif(not kernels.at_hand(), reason="the kernels were not built here")


def test_a_change_of_the_source_is_a_change_of_the_revision() -> None:
    # The code's digest covers Python alone, and so the source by this number: raise it, then pin the new sum.
    digest = hashlib.sha256()
    for file in sorted(FOLDER.glob("*.[ch]")):
        digest.update(file.name.encode() + file.read_bytes())
    pinned = "af5ae0363146df55aa68a3ee05c4620f05a97586d2a839abaca24e8486e89b7a"
    assert (library._REVISION, digest.hexdigest()) == (4, pinned)


def test_what_was_built_for_this_processor_is_used() -> None:
    capability = torch.backends.cpu.get_cpu_capability()
    name = library._BUILDS.get(capability)
    if capability == "DEFAULT" or name is None or not list(FOLDER.glob(f"{name}.*")):
        pytest.skip("nothing was built for this processor")
    assert kernels.at_hand()


@pytest.mark.parametrize(
    ("setting", "at_hand"), [("off", "False"), ("OFF", "False"), ("", str(kernels.at_hand()))]
)
def test_they_can_be_switched_off(setting: str, at_hand: str) -> None:
    program = "from client import kernels; print(kernels.at_hand())"
    environment = {**os.environ, library.SWITCH: setting}
    said = subprocess.run(
        [sys.executable, "-c", program], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == str(not setting and kernels.at_hand())


@built
def test_source_alone_as_in_a_bundle_finds_what_is_installed(tmp_path: Path) -> None:
    for file in ROOT.glob("client/**/*.py"):
        copy = tmp_path / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    program = "from client import kernels; print(kernels.__file__, kernels.at_hand())"
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == [str(tmp_path / "client" / "kernels" / "__init__.py"), "True"]


@built
def test_a_build_that_lacks_a_kernel_is_left_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(library._ARGUMENTS, "of_another_version", "n")
    assert library._library.__wrapped__() is None


def test_another_revision_is_left_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_REVISION", -1)
    assert library._library.__wrapped__() is None


def test_without_them_a_call_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "_library", lambda: None)
    assert not kernels.at_hand()
    with pytest.raises(RuntimeError, match="not at hand"):
        kernels.run("squares", 1, 1, torch.zeros(16), torch.zeros(16))


@built
@pytest.mark.parametrize(
    "wrong", [torch.zeros(16, 2)[:, 0], torch.zeros(16).double(), torch.zeros(16).bool()]
)
def test_memory_that_a_kernel_would_misread_is_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="a kernel takes tensors that are contiguous"):
        kernels.run("squares", 1, 1, wrong, torch.zeros(16))
    with pytest.raises(ValueError, match="argument"):
        kernels.run("squares", 1, 1, torch.zeros(16))


@built
def test_numbers_of_another_type_are_no_surprise() -> None:
    out = torch.empty(3)
    kernels.run("onto_grid", 3, torch.ones(3), torch.ones(3), 2, 1, out)  # whole numbers for doubles
    assert out.tolist() == [3.0, 3.0, 3.0]
