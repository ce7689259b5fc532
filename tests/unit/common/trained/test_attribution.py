"""Heat maps: they come from the model, reach the pixels, and say where they cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from common.errors import ConfigError
from common.trained import extras
from common.trained.attribution import (
    METHODS,
    USUAL,
    Explained,
    choose_methods,
    explained,
    heat,
    heat_maps,
    integrated_gradients,
)
from common.trained.explain_cli import MOST_IMAGES
from common.trained.loading import load_trained
from common.trained.whole import WholeModel
from tests.command_line import run_command
from tests.trained_runs import save_images, write_trained

pytest.importorskip("captum")
CPU = torch.device("cpu")


class Corner(torch.nn.Module):
    """Scores that depend on the upper left quarter only."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        corner = images[:, :, :16, :16].mean(dim=(1, 2, 3)) / 255
        return torch.stack([corner, -corner], dim=1)


@pytest.mark.parametrize(
    ("method", "least"), [("saliency", 0.9), ("integrated-gradients", 0.9), ("occlusion", 0.5)]
)
def test_heat_is_where_the_model_looks(method, least) -> None:
    module = WholeModel(torch.nn.Identity(), Corner())
    model = Explained(scores=module, module=module, last_convolution=None)
    pixels = torch.full((3, 32, 32), 255, dtype=torch.uint8)
    (found,) = heat_maps(model, pixels, 0, (method,))
    assert found.shape == (32, 32)
    assert found[:14, :14].min() > least  # windows of occlusion cross the border
    assert found[22:, 22:].max() == 0


def test_grad_cam_is_where_the_convolution_answers() -> None:
    convolution = torch.nn.Conv2d(3, 1, 1, bias=False)
    torch.nn.init.ones_(convolution.weight)
    pool = torch.nn.Sequential(convolution, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    module = WholeModel(torch.nn.Identity(), pool)
    model = Explained(scores=module, module=module, last_convolution=convolution)
    pixels = torch.zeros(3, 32, 32, dtype=torch.uint8)
    pixels[:, 20:, 20:] = 255
    (found,) = heat_maps(model, pixels, 0, ("grad-cam",))
    assert found[22:, 22:].min() > 0.9
    assert found[:18, :18].max() == 0


@pytest.mark.parametrize("name", ["cnn", "scatter-linear"])
def test_integrated_gradients_add_up_to_the_difference_of_scores(tmp_path, name, monkeypatch) -> None:
    monkeypatch.setattr("common.trained.attribution._STEPS", 300)
    model = explained(load_trained(write_trained(tmp_path / "run", name).root, CPU))
    pixels = torch.randint(0, 256, (1, 3, 32, 32), generator=torch.Generator().manual_seed(4)).float()
    with torch.no_grad():
        expected = model.scores(pixels)[0, 3] - model.scores(torch.full_like(pixels, 127.5))[0, 3]
    captured = []
    monkeypatch.setattr(torch.Tensor, "abs", lambda self: captured.append(self) or self)
    integrated_gradients(model, pixels, 3)
    assert abs(expected) > 1e-3
    assert float(captured[-1].sum()) == pytest.approx(float(expected), rel=0.05)


def test_grad_cam_takes_the_last_convolution(tmp_path) -> None:
    trained = load_trained(write_trained(tmp_path / "run").root, CPU)
    assert explained(trained).last_convolution is trained.network.get_submodule("conv2")


def test_a_head_without_convolution_has_no_grad_cam(tmp_path) -> None:
    model = explained(load_trained(write_trained(tmp_path / "run", "scatter-linear").root, CPU))
    choice = choose_methods(USUAL, model, "scatter-linear")
    assert choice.names == ("saliency", "integrated-gradients")
    assert "no convolution" in choice.remarks[0]
    with pytest.raises(ConfigError, match="no convolution; choose --methods"):
        choose_methods(("grad-cam",), model, "scatter-linear")


def test_a_front_that_no_gradient_passes_is_explained_by_occlusion(tmp_path) -> None:
    trained = load_trained(write_trained(tmp_path / "run", "scatter-cnn").root, CPU)
    assert trained.spec.front is not None
    blocked = replace(trained, spec=replace(trained.spec, front=replace(trained.spec.front, module=None)))
    model = explained(blocked)
    choice = choose_methods(USUAL, model, "scatter-cnn")
    assert choice.names == ("occlusion",)
    assert "no gradient passes the front" in choice.remarks[0]
    pixels = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    (found,) = heat_maps(model, pixels, 2, choice.names)
    (expected,) = heat_maps(explained(trained), pixels, 2, choice.names)
    assert found.max() == 1
    assert (found - expected).abs().max() < 0.05


def test_heat_is_scaled_and_nothing_stays_nothing() -> None:
    assert torch.equal(heat(torch.zeros(4, 4)), torch.zeros(4, 4))
    single = torch.zeros(32, 32)
    single[3, 3] = 5
    assert heat(single)[3, 3] == 1


def test_an_unknown_method_is_named() -> None:
    with pytest.raises(ConfigError, match="did you mean 'saliency'"):
        choose_methods(("salience",), Explained(scores=len, module=None, last_convolution=None), "cnn")


def test_the_command_draws_a_sheet_and_warns(tmp_path) -> None:
    run, out = write_trained(tmp_path / "run").root, tmp_path / "sheet.png"
    images = save_images(tmp_path / "images", 2)
    arguments = ["explain", str(run), *map(str, images), str(tmp_path / "nowhere"), "--out", str(out)]
    outcome = run_command(*arguments)
    assert outcome.status == 2
    assert "nowhere does not exist" in outcome.err
    assert outcome.err.count("a sheet of private training images is as private as they are") == 1
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert pixels.shape == (34 + 2 * 172 + 30, 230 + 4 * 172 + 12, 3)
    with Image.open(images[1]) as image:
        expected = np.asarray(image.convert("RGB").resize((160, 160), Image.Resampling.NEAREST))
    assert np.array_equal(pixels[34 + 172 : 34 + 172 + 160, 230:390], expected)
    assert set(METHODS) > set(USUAL)


def test_a_sheet_takes_so_many_images_and_needs_one(tmp_path) -> None:
    run = str(write_trained(tmp_path / "run").root)
    save_images(tmp_path / "many", MOST_IMAGES + 1)
    out = str(tmp_path / "sheet.png")
    assert "takes 40 images at most" in run_command("explain", run, str(tmp_path / "many"), "--out", out).err
    outcome = run_command("explain", run, "no-a", "no-b", "--out", out)
    assert (outcome.status, outcome.err) == (
        2,
        "fedledger: none of 2 images can be read, the first: "
        "no-a does not exist: name an image, or a folder of images\n",
    )


def test_without_captum_one_line_says_what_to_install(tmp_path, monkeypatch) -> None:
    def missing(library: str) -> None:
        raise ModuleNotFoundError(f"No module named {library!r}", name=library)

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    run = str(write_trained(tmp_path / "run").root)
    outcome = run_command("explain", run, "any.png", "--out", str(tmp_path / "sheet.png"))
    assert outcome.err == (
        "fedledger: this needs captum, which is not installed: pip install -e '.[explain]'\n"
    )
