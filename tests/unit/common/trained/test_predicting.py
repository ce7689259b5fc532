"""Classes and probabilities of images, some of which cannot be read."""

from __future__ import annotations

import json

import pytest
import torch

from common.trained.loading import load_trained
from common.trained.pictures import read_pictures
from common.trained.predicting import most_likely, predict, scores_of
from tests.command_line import run_command
from tests.trained_runs import save_images, write_trained

CPU = torch.device("cpu")


def test_the_most_probable_classes_come_first() -> None:
    likely = most_likely(("a", "b", "c"), torch.tensor([0.2, 0.5, 0.3]), 2)
    assert [(one.name, round(one.probability, 6)) for one in likely] == [("b", 0.5), ("c", 0.3)]
    assert len(most_likely(("a", "b", "c"), torch.tensor([0.2, 0.5, 0.3]), 9)) == 3


def test_each_image_has_its_own_answer_in_its_place(tmp_path) -> None:
    trained = load_trained(write_trained(tmp_path / "run").root, CPU)
    paths = save_images(tmp_path / "images", 70)
    (tmp_path / "images" / "001a.txt").write_text("no image")
    (tmp_path / "images" / ".hidden").write_text("no image")
    pictures = list(read_pictures([tmp_path / "images"], image_size=32))
    found = list(predict(trained, pictures, top=10))
    assert [one.path for one in found] == [picture.path for picture in pictures]
    assert [one.path for one in found if one.problem] == [str(tmp_path / "images" / "001a.txt")]
    answered = {one.path: one for one in found if not one.problem}
    assert set(answered) == {str(path) for path in paths}
    for picture in (pictures[0], pictures[-1]):
        expected = scores_of(trained, picture.pixels[None]).softmax(1)[0]
        given = {one.name: one.probability for one in answered[picture.path].likely}
        for name, probability in zip(trained.classes, expected.tolist(), strict=True):
            assert given[name] == pytest.approx(probability, abs=1e-5)


def test_the_command_answers_what_it_can_and_says_what_it_cannot(tmp_path) -> None:
    run = write_trained(tmp_path / "run").root
    image = save_images(tmp_path, 1)[0]
    outcome = run_command("predict", str(run), str(image), str(tmp_path / "nowhere.png"), "--top", "2")
    assert outcome.status == 2
    assert outcome.out.startswith(f"{image}: ")
    assert outcome.out.count(" %") == 2
    assert outcome.err == (
        f"fedledger: {tmp_path}/nowhere.png does not exist: name an image, or a folder of images\n"
    )


def test_the_command_speaks_json(tmp_path) -> None:
    run = write_trained(tmp_path / "run").root
    image = save_images(tmp_path, 1)[0]
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"")
    outcome = run_command("predict", str(run), str(image), str(bad), "--json", "--top", "1")
    first, second = json.loads(outcome.out)
    assert (first["image"], len(first["classes"])) == (str(image), 1)
    assert second == {"image": str(bad), "problem": f"{bad} is not a readable image: remove it or replace it"}
    assert run_command("predict", str(run), str(image), "--json").status == 0


def test_a_name_cannot_rewrite_the_terminal(tmp_path) -> None:
    run = write_trained(tmp_path / "run").root
    image = save_images(tmp_path, 1)[0].rename(tmp_path / "\x1b[2Jevil.png")
    outcome = run_command("predict", str(run), str(image))
    assert outcome.status == 0
    assert "\x1b" not in outcome.out
