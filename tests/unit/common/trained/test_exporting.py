"""Exported files: equal to the model, honest about themselves, and without a single image."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from common.errors import ConfigError, DataError, ExportFailed
from common.trained import extras, formats
from common.trained.export_table import as_markdown
from common.trained.exporting import Order, test_images, write_files
from common.trained.formats import FORMATS, METADATA
from common.trained.loading import load_trained
from common.trained.measuring import Measured
from common.trained.provenance import describe, standing_of
from common.trained.whole import whole_model
from tests.command_line import run_command
from tests.trained_runs import save_images, write_trained

public_images = test_images
del test_images  # it is no test
CPU = torch.device("cpu")
TORCH_ONLY = ("torchscript", "torch-export")


@pytest.fixture
def trained(tmp_path):
    return load_trained(write_trained(tmp_path / "run").root, CPU)


@pytest.fixture
def public(tmp_path) -> Path:
    save_images(tmp_path / "public", 60, by_class=True)
    return tmp_path / "public"


def metadata_of(path: Path) -> dict:
    if path.suffix == ".onnx":
        import onnx

        (entry,) = onnx.load(path).metadata_props
        assert entry.key == METADATA
        return json.loads(entry.value)
    files = {METADATA: ""}
    if path.suffix == ".pt":
        torch.jit.load(path, _extra_files=files)
    else:
        torch.export.load(path, extra_files=files)
    return json.loads(files[METADATA])


@pytest.mark.parametrize(
    "model", ["cnn", "cnn-tanh", "resnet-gn", "wrn-16-4", "scatter-linear", "scatter-cnn"]
)
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_computes_what_the_model_does_for_any_number_of_images(tmp_path, public, model, name) -> None:
    if name == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    trained = load_trained(write_trained(tmp_path / model, model).root, CPU)
    test = public_images(trained, public, 0)
    export = write_files(trained, Order(formats=(name,)), tmp_path / "out", test, lambda _: None)
    original, row = export.rows
    assert (original.name, row.name) == ("original", name)
    assert row.largest_difference < 1e-4
    assert row.accuracy == original.accuracy
    path = tmp_path / "out" / row.file
    run = FORMATS[name].load(path)
    expected = whole_model(trained)(test.images)
    for count in (1, 3, 60):
        assert (run(test.images[:count]) - expected[:count]).abs().max() < 1e-4
    told = metadata_of(path)
    assert told["classes"] == list(trained.classes)
    assert told["input"]["shape"] == ["batch", 3, 32, 32]
    assert told["variant"] == name


@pytest.mark.parametrize("name", FORMATS)
def test_no_file_holds_a_test_image_or_a_place_on_this_machine(tmp_path, trained, public, name) -> None:
    if name == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")
    test = public_images(trained, public, 0)
    write_files(trained, Order(formats=(name,)), tmp_path / "out", test, lambda _: None)
    (file,) = (tmp_path / "out").iterdir()
    data = file.read_bytes()
    assert len(data) < 400_000, "the network has 248,000 bytes, 60 images 184,000"
    for image in test.images:
        assert image.numpy().tobytes()[1000:1064] not in data
    assert str(Path(formats.__file__).parent).encode() not in data


def test_int8_and_pruned_variants_are_smaller_and_their_loss_is_stated(tmp_path, trained, public) -> None:
    told: list[Measured] = []
    order = Order(formats=TORCH_ONLY, int8=True, prune=0.5)
    export = write_files(trained, order, tmp_path / "out", public_images(trained, public, 0), told.append)
    assert tuple(told) == export.rows
    rows = {row.name: row for row in export.rows}
    assert len(rows) == 1 + 2 * 4
    assert {path.name for path in (tmp_path / "out").iterdir()} == {row.file for row in export.rows} - {""}
    for name in TORCH_ONLY:
        plain, int8, halved = (rows[f"{name}{more}"] for more in ("", ", int8 weights", ", 50 % pruned"))
        assert int8.size_bytes < 0.5 * plain.size_bytes
        assert halved.zipped_bytes < 0.75 * plain.zipped_bytes
        assert plain.largest_difference < 1e-4 < int8.largest_difference < halved.largest_difference


def test_a_file_that_computes_something_else_is_not_kept(tmp_path, trained, public, monkeypatch) -> None:
    kind = FORMATS["torchscript"]
    wrong = replace(kind, load=lambda path: lambda images: kind.load(path)(images) + 2e-4)
    monkeypatch.setitem(FORMATS, "torchscript", wrong)
    with pytest.raises(
        ExportFailed, match=r"model.torchscript.pt differs from the model by 0.0002, permitted"
    ):
        write_files(
            trained,
            Order(formats=("torchscript",)),
            tmp_path / "out",
            public_images(trained, public, 0),
            lambda _: None,
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_scores_that_are_no_numbers_are_no_match(tmp_path, trained, public, monkeypatch) -> None:
    kind = FORMATS["torchscript"]
    wrong = replace(kind, load=lambda path: lambda images: kind.load(path)(images) * np.nan)
    monkeypatch.setitem(FORMATS, "torchscript", wrong)
    with pytest.raises(ExportFailed, match="by inf"):
        write_files(
            trained,
            Order(formats=("torchscript",)),
            tmp_path / "out",
            public_images(trained, public, 0),
            lambda _: None,
        )


def test_a_front_without_a_module_is_refused(tmp_path, public) -> None:
    trained = load_trained(write_trained(tmp_path / "run", "scatter-linear").root, CPU)
    assert trained.spec.front is not None
    blocked = replace(trained, spec=replace(trained.spec, front=replace(trained.spec.front, module=None)))
    with pytest.raises(ConfigError, match="the front of scatter-linear cannot be exported"):
        write_files(
            blocked,
            Order(formats=TORCH_ONLY),
            tmp_path / "out",
            public_images(trained, public, 0),
            lambda _: None,
        )
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_audited_carries_no_epsilon(trained) -> None:
    standing = standing_of(trained.folder)
    assert not standing.verified
    assert (standing.epsilon, standing.delta) == (None, None)
    assert standing.verdict.startswith("NOT verified")
    assert describe(trained, standing)["privacy"]["epsilon"] is None


def test_test_images_are_taken_evenly_and_must_have_the_models_classes(trained, public, tmp_path) -> None:
    every, some = public_images(trained, public, 0), public_images(trained, public, 20)
    assert (len(every), len(some)) == (60, 20)
    assert len(set(some.labels.tolist())) == 10
    assert every.classes == trained.classes
    for place, name in enumerate(sorted(trained.classes)):  # as folders are read
        files = len(list((public / "test" / name).iterdir()))
        start = sum(
            len(list((public / "test" / other).iterdir())) for other in sorted(trained.classes)[:place]
        )
        assert {trained.classes[label] for label in every.labels[start : start + files].tolist()} == {name}
    (public / "test" / "disc").rename(public / "test" / "disk")
    with pytest.raises(DataError, match="are not the model's \\('disc'\\)"):
        public_images(trained, public, 0)
    with pytest.raises(DataError, match="has no test/ inside"):
        public_images(trained, tmp_path, 0)


def test_a_runs_folder_of_images_is_not_read_beyond_its_test_images(tmp_path, public) -> None:
    (public / "train").mkdir()
    (public / "train" / "private.png").write_text("must not be opened, or this fails")
    settings = {"data.dataset": "folder", "data.data-dir": str(public)}
    trained = load_trained(write_trained(tmp_path / "run", **settings).root, CPU)
    assert len(public_images(trained, None, 0)) == 60


def test_the_command_writes_one_table_three_times(tmp_path, public) -> None:
    run, out = write_trained(tmp_path / "run").root, tmp_path / "out"
    arguments = ("export", str(run), "--out", str(out), "--formats", "torchscript", "--data-dir", str(public))
    outcome = run_command(*arguments)
    assert outcome.status == 0, outcome.err
    record = json.loads((out / "export.json").read_text())
    page = (out / "export.md").read_text()
    assert [row["name"] for row in record["files"]] == ["original", "torchscript"]
    assert record["num_images"] == 60
    assert "The files carry no epsilon." in page
    assert "| torchscript |" in page
    assert outcome.out.splitlines()[0].split()[0] == "variant"
    again = run_command(*arguments)
    assert (again.status, again.out) == (2, "")
    assert "is not an empty folder" in again.err


def test_a_promise_is_written_with_its_delta(trained, tmp_path, public) -> None:
    order = Order(formats=("torchscript",))
    export = write_files(trained, order, tmp_path / "out", public_images(trained, public, 5), lambda _: None)
    standing = replace(export.standing, epsilon=2.5, delta=1e-5, verdict="Verified")
    page = as_markdown(replace(export, standing=standing), describe(trained, standing))
    assert "Verified. Epsilon 2.5000 at delta 1e-05." in page


def test_without_onnx_one_line_says_what_to_install(tmp_path, monkeypatch) -> None:
    def missing(library: str) -> None:
        raise ModuleNotFoundError(f"No module named {library!r}", name=library)

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    run = str(write_trained(tmp_path / "run").root)
    outcome = run_command("export", run, "--out", str(tmp_path / "out"))
    assert outcome.err == (
        "fedledger: this needs onnx, which is not installed: pip install -e '.[export]', "
        "or --formats torchscript,torch-export\n"
    )
