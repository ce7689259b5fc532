"""From a private training to predictions, a sheet and files for other programs, by the command."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from common.run_folder import RunFolder
from tests.command_line import run_command

pytestmark = pytest.mark.xdist_group("trained-run")


@pytest.fixture(scope="module", params=["cnn", "scatter-cnn"])
def run(request, tiny_images, tmp_path_factory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("trained") / "run")
    data = ("--dataset", "folder", "--data-dir", str(tiny_images), "--partitioner", "iid")
    size = ("--clients", "2", "--rounds", "2", "--workers", "1", "--device", "cpu")
    calm = (
        "--set",
        "training.learning-rate=0.05",
    )  # weights of mere noise make scores that float32 cannot hold to 1e-4
    outcome = run_command(
        "simulate", *data, *size, *calm, "--model", request.param, "--out", str(folder.root)
    )
    assert outcome.status == 0, outcome.err
    return folder


def test_predictions_are_those_that_the_run_was_evaluated_by(run, tiny_images) -> None:
    outcome = run_command("predict", str(run.root), str(tiny_images / "test"), "--json")
    assert outcome.status == 0, outcome.err
    answers = json.loads(outcome.out)
    evaluation = json.loads(run.evaluation.read_text())
    right = sum(f"/test/{answer['classes'][0]['class']}/" in answer["image"] for answer in answers)
    assert right / len(answers) == pytest.approx(evaluation["accuracy"])
    assert len(answers) == evaluation["num_examples"] == 10


def test_a_sheet_is_drawn(run, tiny_images, tmp_path) -> None:
    pytest.importorskip("captum")
    out = tmp_path / "sheet.png"
    outcome = run_command("explain", str(run.root), str(tiny_images / "test" / "cat"), "--out", str(out))
    assert outcome.status == 0, outcome.err
    assert "saliency, integrated-gradients, grad-cam" in outcome.out
    with Image.open(out) as sheet:
        assert sheet.size == (230 + 4 * 172 + 12, 34 + 5 * 172 + 30)


def test_an_exported_file_answers_like_the_run_and_carries_its_promise(run, tiny_images, tmp_path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    before = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}
    outcome = run_command("export", str(run.root), "--out", str(tmp_path / "files"), "--quantize", "int8")
    assert outcome.status == 0, outcome.err
    assert before == {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}
    session = onnxruntime.InferenceSession(tmp_path / "files" / "model.onnx")
    told = json.loads(session.get_modelmeta().custom_metadata_map["fedledger.json"])
    assert told["privacy"]["verified"]
    assert 0 < told["privacy"]["epsilon"] <= 8
    assert told["privacy"]["delta"] > 0
    image = tiny_images / "test" / "dog" / "00.png"
    with Image.open(image) as opened:
        pixels = np.asarray(opened.convert("RGB")).transpose(2, 0, 1)[None]
    (scores,) = session.run(["scores"], {"images": pixels})
    (answer,) = json.loads(run_command("predict", str(run.root), str(image), "--json", "--top", "1").out)
    assert told["classes"][int(scores.argmax())] == answer["classes"][0]["class"]
    rows = json.loads((tmp_path / "files" / "export.json").read_text())["files"]
    assert len(rows) == 1 + 3 * 2


def test_a_site_makes_a_model_of_its_own_and_nothing_of_it_gets_into_the_run(
    run, tiny_images, tmp_path
) -> None:
    before = {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}
    for whose in (("--data-dir", str(tiny_images)), ("--client", "1")):
        out = tmp_path / whose[0].strip("-")
        outcome = run_command("personalise", str(run.root), *whose, "--out", str(out), "--epochs", "1")
        assert outcome.status == 0, outcome.err
        assert outcome.out.startswith("NOT RELEASED: ")
        assert "Do not share it" in outcome.out
        told = json.loads((out / "personal.json").read_text())
        images = 48 if whose[0] == "--data-dir" else 24
        assert told["num_trained"] + told["num_held_out"] == images
        assert told["model_sha256"] != told["run_model_sha256"]
        answers = run_command("predict", str(out), str(tiny_images / "test" / "cat"), "--json")
        assert len(json.loads(answers.out)) == 5
    assert before == {path: path.read_bytes() for path in run.root.rglob("*") if path.is_file()}


def test_a_personal_model_claims_no_privacy(run, tmp_path) -> None:
    out = tmp_path / "mine"
    assert run_command("personalise", str(run.root), "--client", "0", "--out", str(out)).status == 0
    audited = run_command("audit", str(out))
    assert audited.status == 2
    assert "holds a personal model, which no epsilon covers" in audited.err
    pytest.importorskip("onnxscript")
    exported = run_command("export", str(out), "--out", str(tmp_path / "files"), "--formats", "onnx")
    assert exported.status == 0, exported.err
    told = json.loads((tmp_path / "files" / "export.json").read_text())
    assert (told["privacy"]["epsilon"], told["privacy"]["verified"]) == (None, False)
