"""The ten minutes of docs/deployment.md, typed by a machine: as they stand, but for the port."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest

from client.policy_file import TAKES, read_policy
from common.config import RunConfig
from server.deployment.metrics import Metrics
from server.deployment.superlink import free_port
from tests.command_line import SCRIPT, run_command
from tests.real_clients import runs

pytestmark = pytest.mark.xdist_group("deployment")

PAGE = (SCRIPT.parent / "docs" / "deployment.md").read_text(encoding="utf-8")
POLICY = SCRIPT.parent / "deploy" / "policy.toml"
TRIAL = "## Ten minutes on one machine"
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SECONDS = 600


def section(title: str) -> str:
    """Return the text of a section, up to the next one of its rank."""
    begin = PAGE.index(f"{title}\n")
    return PAGE[begin : PAGE.index("\n## ", begin)]


@pytest.fixture(scope="module")
def typed(tmp_path_factory) -> subprocess.CompletedProcess[str]:
    """What a shell in an empty home folder makes of the section; whatever it starts is ended."""
    home = tmp_path_factory.mktemp("home")
    commands = "\n".join(BLOCK.findall(section(TRIAL))).replace("8443", str(free_port()))
    kept = {"LANG", "LD_LIBRARY_PATH", "TMPDIR"}
    environment = {name: value for name, value in os.environ.items() if name in kept}
    environment |= {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
    }
    shell = subprocess.Popen(
        ["bash", "-e", "-u", "-o", "pipefail", "-c", f"echo shell $$\n{commands}\necho left: $(jobs -p)"],
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = shell.communicate(timeout=SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()
    logs = "".join(f"\n{log}:\n{log.read_text()[-3000:]}" for log in home.glob("*/*.log"))
    assert shell.returncode == 0, said[-6000:] + logs
    return subprocess.CompletedProcess([str(home)], 0, said, logs)


def test_the_trial_ends_as_the_page_says(typed):
    said = typed.stdout
    assert '{"status": "ok"}' in said
    assert said.count("is enrolled as node") == 3
    assert "the data set spends at most epsilon 8" in said
    assert "3 of 3 clients are here: site-0, site-1, site-2" in said
    assert "Training is over: all 3 rounds are done." in said
    assert said.count("Findings: none.") == 3, said[-6000:]
    assert "10 entries, all verified" in said


def test_the_greedy_run_of_the_trial_is_refused_and_costs_nothing(typed):
    assert "noise multiplier 0.4 is below its policy's 0.8" in typed.stdout
    assert "refused, as it should be" in typed.stdout
    assert "verified, 10 entries" in typed.stdout


def test_the_trial_leaves_its_files_and_no_process(typed):
    place = Path(typed.args[0]) / "fedledger-trial"
    assert (place / "first-run" / "report.html").stat().st_size > 10_000
    assert not [entry for entry in Path("/proc").iterdir() if names_it(entry, place)]
    assert "ended as it was asked to" in typed.stderr
    assert "the server has ended" in typed.stderr


def names_it(process: Path, place: Path) -> bool:
    """Say whether a live process has the trial's folder in its arguments."""
    try:
        words = (process / "cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return False
    return process.name.isdigit() and str(place) in words and runs(int(process.name))


def test_the_example_of_a_policy_is_that_of_the_page_and_names_every_key():
    text = POLICY.read_text(encoding="utf-8")
    assert f"```toml\n{text}```" in PAGE
    assert set(tomllib.loads(text)) == set(TAKES)
    policy = read_policy(POLICY)
    assert not policy.amend_ledgers
    assert not policy.permit_reproducible_noise


def test_every_setting_that_the_page_names_exists():
    known = set(RunConfig().flat())
    named = set(re.findall(r"--set ([a-z]+\.[a-z-]+)=", PAGE))
    assert len(named) >= 5
    assert named <= known


def test_every_link_of_the_pages_leads_to_a_file():
    root = SCRIPT.parent
    for page in [
        root / "README.md",
        *sorted((root / "docs").glob("*.md")),
        *sorted((root / "deploy").glob("*.md")),
    ]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_page_of_operations_names_every_metric_and_no_other():
    page = (SCRIPT.parent / "docs" / "operations.md").read_text(encoding="utf-8")
    exposed = set(re.findall(r"^# TYPE (\S+)", Metrics().text(), re.MULTILINE))
    assert set(re.findall(r"^\| `(fedledger_\w+)", page, re.MULTILINE)) == exposed


def test_every_test_that_the_threat_model_names_exists():
    page = (SCRIPT.parent / "docs" / "threat-model.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.py)::(test_\w+)`", page))
    assert len(named) > 30
    short = {"server/": "unit/server/deployment/", "client/": "unit/client/deployment/"}
    for file, test in named:
        first = file.split("/")[0] + "/"
        place = short.get(first, first) + file.removeprefix(first)
        text = (SCRIPT.parent / "tests" / place).read_text(encoding="utf-8")
        assert f"def {test}(" in text, f"{file}::{test}"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="this system has no systemd")
def test_the_units_are_understood_by_systemd(tmp_path):
    for unit in sorted(POLICY.parent.glob("*.service")):
        text = unit.read_text(encoding="utf-8").replace("/opt/fedledger/bin/fedledger", sys.executable)
        (tmp_path / unit.name).write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", str(tmp_path / unit.name)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_options_in_units_and_containers_exist():
    deploy = POLICY.parent
    for file in [*deploy.glob("*.service"), deploy / "compose.yaml"]:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".service":
            text = next(line for line in text.splitlines() if line.startswith("ExecStart="))
        verbs = [verb for verb in ("server", "client") if verb in file.name or file.suffix == ".yaml"]
        known = {option for verb in verbs for option in re.findall(r"--[a-z-]+", helped(verb))}
        options = set(re.findall(r"(?<= )--[a-z-]+", text))
        assert len(options) >= 5
        assert options <= known, file.name


def helped(verb: str) -> str:
    """Return what a verb says of itself."""
    return run_command(verb, "--help").out
