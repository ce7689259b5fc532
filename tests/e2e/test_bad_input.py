"""Every mistake of docs/mistakes.md, made for real: one line, exit status 2, and nothing lost.

The rows of that page are the parameters. A row whose second cell is empty, or all rows when REWRITE_MISTAKES
is set, get what is printed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import resource
import shlex
import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from PIL import Image

from common.config import resolve
from common.errors import ConfigError
from common.ledger import SigningKey, read_ledger
from common.run_folder import RunFolder, exclusively
from server.deployment.node_keys import make_client_key
from server.deployment.pki import make_server_certificate
from server.observer import RunObserver
from simulations import harness
from simulations.harness import simulate
from simulations.sweep.axes import parse_axes
from simulations.sweep.folder import begin
from simulations.sweep.plan import SweepPlan
from tests.command_line import SCRIPT, Outcome, run_command, start_command
from tests.made_images import make_images
from tests.real_clients import POLICY

PAGE = SCRIPT.parent / "docs" / "mistakes.md"
ROW = re.compile(r"^\| `fedledger ?([^`]*)` \|(.*)\|$", re.MULTILINE)
SMALL = ["--dataset", "folder", "--data-dir", "images", "--clients", "2", "--rounds", "1"]


def rows() -> list[tuple[str, str]]:
    cells = [(match[1], match[2].strip()) for match in ROW.finditer(PAGE.read_text(encoding="utf-8"))]
    return [(typed, said.strip("`").strip()) for typed, said in cells]


def make_data_folders() -> None:
    both = {"train": 30, "test": 5}
    for name in ("images", "text-inside", "truncated", "empty-class", "other-classes"):
        make_images(Path(name), both)
    make_images(Path("one-class"), both, classes=("cat",))
    make_images(Path("single-image"), {"train": 1})
    make_images(Path("strange-classes"), {"train": 2}, classes=("cat", "eel"))
    Path("text-inside/train/cat/notes.txt").write_text("not an image")
    picture = Path("truncated/train/cat/99.jpg")
    Image.effect_noise((64, 64), 90).convert("RGB").save(picture)
    picture.write_bytes(picture.read_bytes()[:700])
    Path("empty-class/train/eel").mkdir()
    Path("other-classes/test/dog").rename("other-classes/test/wolf")
    Path("empty-folder").mkdir()


def make_settings_files() -> None:
    texts = {
        "broken.toml": "[privacy\nepsilon = 8\n",
        "misspelled.toml": "[privacyy]\nepsilon = 8\n",
        "no-section.toml": "epsilon = 8\n",
        "not-a-section.toml": "privacy = 8\n",
        "words.toml": '[privacy]\nepsilon = "eight"\n',
        "both.toml": "[training]\nlocal-steps = 2\nlocal-epochs = 3\n",
        "notes.txt": "hello\n",
        "empty.txt": "",
    }
    for name, text in texts.items():
        Path(name).write_text(text)
    Path("picture.png").write_bytes(Path("images/train/cat/00.png").read_bytes())
    SigningKey.generate().save(Path("protected.key"), "correct horse")


def make_sweeps() -> None:
    for name in ("begun-sweep", "damaged-sweep"):
        begin(Path(name), SweepPlan(base={}, axes=parse_axes(["training.momentum=0,0.5"])))
    Path("damaged-sweep/plan.json").write_text("{")


def make_deployment_files() -> None:
    for folder in ("pki", "other-pki"):
        make_server_certificate(Path(folder), ["localhost"])
    Path("half-ca").mkdir()
    shutil.copy("pki/ca.crt", "half-ca")
    make_client_key(Path("keys"), "site-a")
    policies = {
        "policy.toml": POLICY,
        "misspelled-policy.toml": POLICY.replace("epsilon", "epsilonn", 1),
        "lax-policy.toml": POLICY.replace("0.5", "0", 1),
        "unknown-model.toml": POLICY.replace('"cnn"', '"cnnn"', 1),
        "large-delta.toml": f"{POLICY}delta = 0.5\n",
        "foreign-app.toml": f'{POLICY}permitted-apps = ["any"]\n',
    }
    for name, text in policies.items():
        Path(name).write_text(text)


def make_sites() -> None:
    """Folders of sites that lost something, as what is still there tells."""
    for site, kept in (
        ("lost-number", "ledgers/client-391110.jsonl"),
        ("lost-own-ledger", "keys/client-5.key"),
    ):
        path = Path(site) / kept
        path.parent.mkdir(parents=True)
        path.touch()
    Path("lost-own-ledger/number").write_text("5\n")
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    Path("keys/p-256").write_bytes(private)
    Path("keys/p-256.pub").write_bytes(public + b" elsewhere\n")


class StopAfterOneRound(RunObserver):
    rounds = 0

    def round_finished(self, state, outcome) -> None:
        self.rounds += 1

    @property
    def stop_requested(self) -> bool:
        return self.rounds > 0


def edit(path: Path, change) -> None:
    path.write_bytes(change(path.read_bytes()))


def flip_a_bit(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def without(key: str):
    def change(data: bytes) -> bytes:
        record = json.loads(data)
        del record[key]
        return json.dumps(record).encode()

    return change


DAMAGES = {
    "damaged-state": lambda run: edit(run.checkpoint / "state.json", lambda data: data[: len(data) // 2]),
    "incomplete-state": lambda run: edit(run.checkpoint / "state.json", without("round")),
    "damaged-arrays": lambda run: edit(run.checkpoint / "round-000001.safetensors", flip_a_bit),
    "lost-arrays": lambda run: (run.checkpoint / "round-000001.safetensors").unlink(),
    "lost-checkpoint": lambda run: shutil.rmtree(run.checkpoint),
    "lost-settings": lambda run: run.config.unlink(),
    "lost-rounds": lambda run: run.rounds.unlink(),
    "binary-rounds": lambda run: run.rounds.write_bytes(b"\xff\xfe\n"),
    "lost-key": lambda run: run.key(1).unlink(),
    "damaged-key": lambda run: run.key(1).write_text("not a key"),
    "lost-ledger": lambda run: run.ledger(1).unlink(),
    "cut-ledger": lambda run: edit(run.ledger(1), lambda data: data.splitlines(keepends=True)[0]),
    "torn-ledger": lambda run: edit(run.ledger(1), lambda data: data + b'{"entry":{"'),
    "changed-ledger": lambda run: edit(
        run.ledger(1), lambda data: data.replace(b'"round":1', b'"round":2', 1)
    ),
    "no-ledgers": lambda run: shutil.rmtree(run.ledger(0).parent),
    "lost-model": lambda run: run.model.unlink(),
    "damaged-model": lambda run: edit(run.model, lambda data: data[:-1]),
    "other-model": lambda run: edit(run.config, lambda data: data.replace(b'"cnn"', b'"cnn-tanh"')),
    "diverged-model": lambda run: edit(run.model, lambda data: data[:-4] + b"\x00\x00\xc0\x7f"),
    "lost-evaluation": lambda run: run.evaluation.unlink(),
    "damaged-evaluation": lambda run: edit(run.evaluation, without("classes")),
    "no-partitions": lambda run: run.partitions.unlink(),
    "other-shares": lambda run: edit(
        run.partitions, lambda data: data.replace(b'"counts": [[', b'"counts": [[1')
    ),
    "personal": lambda run: run.personal.write_text("{}"),
    "moved-images": lambda run: edit(run.config, lambda data: data.replace(b'"images"', b'"gone"')),
}


def make_runs() -> None:
    settings = {
        "federation.num-clients": 2,
        "federation.num-server-rounds": 2,
        "data.dataset": "folder",
        "data.data-dir": "images",
        "data.partitioner": "iid",
        "runtime.workers": 1,
        "runtime.out": "stopped",
    }
    simulate(resolve(settings), observer=StopAfterOneRound())
    for name, damage in DAMAGES.items():
        shutil.copytree("stopped", name)
        damage(RunFolder(Path(name)))


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder with everything that docs/mistakes.md names."""
    place = tmp_path_factory.mktemp("world")
    before = Path.cwd()
    os.chdir(place)
    try:
        make_data_folders()
        make_settings_files()
        make_deployment_files()
        make_sites()
        make_runs()
        make_sweeps()
    finally:
        os.chdir(before)
    return place


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def at_home(world, monkeypatch) -> Path:
    """Work in the world, and without a network."""
    monkeypatch.chdir(world)
    monkeypatch.setenv("HOME", str(world))
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    umask = os.umask(0)
    os.umask(umask)
    yield world
    os.umask(umask)
    for name in ("runs", "site", "made", "made-state"):
        shutil.rmtree(world / name, ignore_errors=True)


def the_line(world: Path, outcome: Outcome) -> str:
    """Return what was said, which must be one line; paths as seen from the world."""
    assert outcome.err.startswith("fedledger: ")
    assert outcome.err.count("\n") == 1, outcome.err
    return outcome.err.removeprefix("fedledger: ").rstrip("\n").replace(f"{world}/", "")


def write_row(typed: str, said: str) -> None:
    quote = "``" if "`" in said else "`"
    space = " " if "`" in said else ""
    row = f"| `fedledger {typed}` | {quote}{space}{said}{space}{quote} |"
    old = re.compile(rf"^\| `fedledger {re.escape(typed)}` \|.*\|$", re.MULTILINE)
    PAGE.write_text(old.sub(lambda _: row, PAGE.read_text(encoding="utf-8")), encoding="utf-8")


@pytest.mark.parametrize(("typed", "said"), rows(), ids=[typed for typed, _ in rows()])
def test_a_mistake_ends_in_the_line_that_the_page_shows(at_home, typed, said):
    before = contents(at_home)
    outcome = run_command(*shlex.split(typed))
    line = the_line(at_home, outcome)
    assert outcome.status == 2
    assert before.items() <= contents(at_home).items(), "a file was lost or changed"
    if not said or "REWRITE_MISTAKES" in os.environ:
        write_row(typed, line)
    else:
        assert line == said


def test_the_page_holds_every_kind_of_mistake():
    assert len(rows()) > 90
    assert len({typed.split()[0] for typed, _ in rows() if typed}) >= 4


def test_a_verb_is_asked_for(at_home):
    for typed in ([], ["ledger"]):
        outcome = run_command(*typed)
        assert outcome.status == 2
        assert outcome.err.startswith("Usage: fedledger")


def test_a_run_cannot_be_run_twice_at_a_time(at_home):
    with exclusively(RunFolder(Path("stopped"))):
        outcome = run_command("simulate", "--resume", "stopped")
    assert outcome.status == 2
    assert the_line(at_home, outcome) == "stopped is in use by another process: wait for it to end"


def test_a_full_disk_leaves_no_half_file_and_the_run_can_go_on(at_home, tmp_path):
    root = tmp_path / "run"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))  # the model has 400,000 bytes
    try:
        outcome = run_command("simulate", *SMALL, "--out", str(root))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    line = the_line(at_home, outcome)
    assert outcome.status == 2
    assert line.endswith("cannot be written (File too large): free space, then --resume the run")
    assert not [path for path in root.rglob("*") if path.name.endswith(".tmp")]
    assert run_command("simulate", "--resume", str(root)).status == 0


def test_what_no_client_can_afford_leaves_its_reason_and_charges_nothing(at_home, tmp_path):
    outcome = run_command("simulate", *SMALL, "--epsilon", "1e-9", "--out", str(tmp_path / "run"))
    assert outcome.status == 2
    assert "no client took part in round 1" in the_line(at_home, outcome)
    folder = RunFolder(tmp_path / "run")
    assert [len(read_ledger(folder.ledger(number)).entries) for number in (0, 1)] == [1, 1]
    assert folder.rounds.read_bytes() == b""


def test_a_torn_ledger_is_mended_and_the_run_goes_on(at_home, tmp_path):
    shutil.copytree("torn-ledger", tmp_path / "run")
    assert run_command("simulate", "--resume", str(tmp_path / "run")).status == 0


def test_what_must_not_be_read_is_named(at_home):
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    secret = Path("secret.toml")
    secret.touch(mode=0)
    outcome = run_command("simulate", "--config", str(secret))
    assert the_line(at_home, outcome) == "secret.toml cannot be read (PermissionError): give a TOML text file"
    secret.unlink()


def test_a_narrow_terminal_breaks_no_line(at_home, monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    outcome = run_command("simulate", "--set", "privacy.epsilonn=3")
    assert the_line(at_home, outcome) == "unknown setting privacy.epsilonn: did you mean privacy.epsilon?"


def fail_with(error: BaseException):
    def fail(*_args, **_kwargs):
        raise error

    return fail


def test_a_defect_is_one_line_and_a_traceback_only_with_debug(at_home, monkeypatch):
    monkeypatch.setattr(harness, "split_of", fail_with(KeyError("a record's name")))
    outcome = run_command("simulate", *SMALL)
    assert outcome.status == 3
    assert the_line(at_home, outcome) == "a defect (KeyError): please report what --debug prints"
    with pytest.raises(KeyError):
        run_command("--debug", "simulate", *SMALL)


def test_debug_shows_where_a_mistake_was_found(at_home):
    with pytest.raises(ConfigError):
        run_command("--debug", "simulate", "--rounds", "0")


def test_only_who_makes_a_run_is_told_that_it_can_go_on(at_home, monkeypatch):
    monkeypatch.setattr("client.policy_check.check_policy", fail_with(KeyboardInterrupt()))
    outcome = run_command("policy", "check", "policy.toml")
    assert (outcome.status, the_line(at_home, outcome)) == (130, "interrupted")


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (KeyboardInterrupt(), 130, "interrupted; a run that has begun can go on with --resume"),
        (MemoryError(), 2, "memory is used up: choose fewer --workers or smaller images"),
        (
            PermissionError(13, "Permission denied", "place"),
            2,
            "place cannot be used (Permission denied): permit access, or name another place",
        ),
    ],
)
def test_what_the_machine_refuses(at_home, monkeypatch, error, status, line):
    monkeypatch.setattr(harness, "split_of", fail_with(error))
    outcome = run_command("simulate", *SMALL)
    assert (outcome.status, the_line(at_home, outcome)) == (status, line)


# In a process of its own, as a shell runs it.


def test_a_misspelled_verb_in_a_shell(at_home):
    process = start_command("simulat")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err == "fedledger: No such command 'simulat'. Did you mean 'simulate'?: see `fedledger --help`\n"


def test_output_that_nobody_reads(at_home):
    process = start_command("config")
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(60) == 141


def test_output_to_a_full_disk(at_home):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("w") as place:
        process = start_command("config", stdout=place)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    line = "the output cannot be used (No space left on device): free space"
    assert err == f"fedledger: {line}\n"


def test_letters_that_the_terminal_lacks(at_home):
    plain = {"LANG": "C", "LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii:strict"}
    process = start_command("audit", "Läufe", environment=plain)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.startswith("fedledger: L\\xe4ufe is not a run folder, a ledger")
