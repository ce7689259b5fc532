"""The wheel: all that the program needs is in it, and a deployment runs from it, far from any source tree."""

from __future__ import annotations

import contextlib
import os
import shutil
import site
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from common.code import installed_sources
from tests.deployed_server import environment, wait_for
from tests.real_clients import POLICY, ROOT, Process

pytestmark = pytest.mark.xdist_group("second-deployment")

PACKAGES = ("client", "common", "server", "simulations")
BUILD = "import sys; from setuptools import build_meta; print(build_meta.build_wheel(sys.argv[1]))"


def shipped(tree: Path) -> set[str]:
    """Return the files of a tree that belong into a wheel: every one of its packages, whatever its kind."""
    files = [path for package in PACKAGES for path in (tree / package).rglob("*") if path.is_file()]
    return {path.relative_to(tree).as_posix() for path in files} | {"fedledger.py"}


@pytest.fixture(scope="module")
def tree(tmp_path_factory) -> Path:
    copy = tmp_path_factory.mktemp("tree") / "source"
    copy.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "fedledger.py"):
        shutil.copy(ROOT / name, copy)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    return copy


@pytest.fixture(scope="module")
def wheel(tree, tmp_path_factory) -> Path:
    expected, folder = shipped(tree), tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-c", BUILD, folder]
    built = subprocess.run(command, cwd=tree, check=False, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    (file,) = folder.glob("*.whl")
    (folder / "expected.txt").write_text("\n".join(sorted(expected)))
    return file


def test_it_holds_every_file_of_the_packages(wheel):
    expected = set((wheel.parent / "expected.txt").read_text().splitlines())
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == expected
    kinds = {Path(name).suffix for name in held}
    assert kinds - {".so"} == {".py", ".j2", ".css", ".json", ".c", ".h"}
    assert {name for name in held if name.endswith(".so")} == {
        name for name in held if name.startswith("client/kernels/_") and "." in Path(name).stem
    }


def test_it_holds_the_source_of_the_bundle_that_travels_to_clients(wheel, tree):
    held = set(zipfile.ZipFile(wheel).namelist())
    assert set(installed_sources()) <= held
    scripts = zipfile.ZipFile(wheel).read(next(n for n in held if n.endswith("entry_points.txt"))).decode()
    assert "fedledger = fedledger:main" in scripts


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """Return the scripts' folder of an environment with the wheel, which sees this one's libraries."""
    place = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True, timeout=120)
    scripts = place / "bin"
    (packages,) = place.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text("\n".join(site.getsitepackages()) + "\n")
    pip = [sys.executable, "-m", "pip", "--python", scripts / "python", "--disable-pip-version-check"]
    install = [*pip, "install", "--quiet", "--no-deps", "--no-index", wheel]
    plain = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(install, env=plain, check=True, timeout=300)
    for script in Path(sys.executable).parent.glob("fl*"):
        if script.name.startswith(("flower-", "flwr")):
            _, _, body = script.read_bytes().partition(b"\n")
            (scripts / script.name).write_bytes(f"#!{scripts}/python\n".encode() + body)
            (scripts / script.name).chmod(0o755)
    return scripts


@pytest.fixture
def command(installed, tmp_path):
    """Return how a command is run from a home folder."""

    def run(*arguments: object, seconds: float = 400) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [installed / "fedledger", *arguments],
            cwd=tmp_path,
            env=away(tmp_path, installed),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    return run


def away(home: Path, scripts: Path) -> dict[str, str]:
    """Return an environment in which nothing leads to the source tree."""
    given = {name: value for name, value in environment(home / "flwr").items() if name != "PYTHONPATH"}
    return given | {"HOME": str(home), "PATH": f"{scripts}{os.pathsep}{os.defpath}"}


class Begun(Process):
    """A process of the installed command."""

    def __init__(self, scripts: Path, home: Path, name: str, *arguments: object) -> None:
        before = dict(os.environ)
        os.environ.pop("PYTHONPATH", None)
        os.environ["HOME"] = str(home)
        try:
            super().__init__([scripts / "fedledger", *arguments], home / f"{name}.log", home / name)
        finally:
            os.environ.clear()
            os.environ.update(before)


def test_a_deployment_runs_from_it(command, installed, tmp_path, tiny_images):
    told = subprocess.run(
        [installed / "python", "-c", "import common, fedledger; print(common.__file__, fedledger.__file__)"],
        cwd=tmp_path,
        env=away(tmp_path, installed),
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(str(installed.parent) in file for file in told.stdout.split()), told.stdout
    made = command("pki", "init", "pki", "--host", "127.0.0.1")
    assert made.returncode == 0, made.stderr
    state = tmp_path / "state"
    with contextlib.ExitStack() as stack:
        serve = ("server", "--pki", tmp_path / "pki", "--state", state, "--port", "0")
        server = Begun(installed, tmp_path, "server", *serve)
        stack.callback(end, server)
        server.wait_for("serving clients on", 90)
        gateway = server.said.split("serving clients on ")[1].split()[0]
        (tmp_path / "policy.toml").write_text(POLICY)
        clients = [started(command, installed, tmp_path, number, gateway, tiny_images) for number in range(2)]
        for client in clients:
            stack.callback(client.kill)
        settings = {
            "federation.num-clients": 2,
            "federation.num-server-rounds": 2,
            "data.dataset": "folder",
            "data.data-dir": tiny_images,
            "training.sample-rate": 0.2,
            "privacy.noise-multiplier": 3.0,
        }
        options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        done = command("run", "--state", state, "--out", "run", "--wait", "90", *options)
        assert done.returncode == 0, done.stdout + done.stderr + server.said + clients[0].said
        shown = command("status", "--state", state)
        assert shown.stdout.count("online") == 2, shown.stdout + shown.stderr
    audited = command("audit", "run")
    assert audited.returncode == 0, audited.stdout + audited.stderr
    assert "Findings: none" in audited.stdout


def started(command, scripts: Path, home: Path, number: int, gateway: str, images: Path) -> Process:
    name = f"site-{number}"
    assert command("pki", "client", "keys", name).returncode == 0
    enrolled = command("enroll", f"keys/{name}.pub", "--state", "state")
    assert enrolled.returncode == 0, enrolled.stderr
    options = [
        *("client", "--server", gateway, "--ca", home / "pki" / "ca.crt", "--key", home / "keys" / name),
        *("--policy", home / "policy.toml", "--state", home / f"state-{name}", "--partition", f"{number}/2"),
        *("--set", "data.dataset=folder", "--set", f"data.data-dir={images}"),
        *("--set", "data.partitioner=iid", "--set", "data.min-partition-size=1"),
    ]
    client = Begun(scripts, home, name, *options)
    client.wait_for("connected as node", 180)
    return client


def end(server: Process) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.end()
    server.kill()
    wait_for(lambda: server.popen.poll() is not None, 10)
