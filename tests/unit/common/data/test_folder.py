from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from PIL import Image

from common.data import DataSplit, load_data
from common.errors import DataError


def _save(path: Path, grey: int, size: tuple[int, int] = (8, 8)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (grey, grey, grey)).save(path)


def _fill(root: Path, part: str, counts: dict[str, int]) -> None:
    for place, (name, count) in enumerate(counts.items()):
        for index in range(count):
            _save(root / part / name / f"{index:03d}.png", 100 * place + index)


def _load(root: Path, seed: int = 0) -> DataSplit:
    return load_data("folder", data_dir=root, image_size=8, seed=seed)


def test_records_are_sorted_by_class_and_file(tmp_path: Path) -> None:
    _fill(tmp_path, "train", {"cat": 3, "dog": 2})
    _fill(tmp_path, "test", {"cat": 1, "dog": 1})
    split = _load(tmp_path)
    assert split.train.images[:, 0, 0, 0].tolist() == [0, 1, 2, 100, 101]
    assert split.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert split.train.classes == split.test.classes == ("cat", "dog")
    assert split.test.labels.tolist() == [0, 1]
    assert split.description == (
        f"folder {tmp_path.name!r}: 5 training images of 2 classes; "
        "the 2 images of its test/ are treated as public"
    )


def test_many_files_keep_their_order_over_threads(tmp_path: Path) -> None:
    _fill(tmp_path, "train", {"a": 140, "b": 130})
    _fill(tmp_path, "test", {"a": 1, "b": 1})
    grey = _load(tmp_path).train.images[:, 0, 0, 0].tolist()
    assert grey == [*range(140), *range(100, 230)]


def test_images_in_subfolders_of_a_class_belong_to_it(tmp_path: Path) -> None:
    _fill(tmp_path, "train", {"cat": 1, "dog": 2})
    _save(tmp_path / "train/cat/more/a.png", 9)
    _fill(tmp_path, "test", {"cat": 1, "dog": 1})
    assert _load(tmp_path).train.images[:, 0, 0, 0].tolist() == [0, 9, 100, 101]


def test_without_a_test_folder_a_tenth_of_each_class_is_held_out(tmp_path: Path) -> None:
    _fill(tmp_path, "train", {"cat": 40, "dog": 20, "elk": 3})
    split = _load(tmp_path)
    assert torch.bincount(split.test.labels).tolist() == [4, 2, 1]
    assert torch.bincount(split.train.labels).tolist() == [36, 18, 2]
    together = [*split.train.images[:, 0, 0, 0].tolist(), *split.test.images[:, 0, 0, 0].tolist()]
    assert sorted(together) == [*range(40), *range(100, 120), *range(200, 203)]
    assert "no test/" in split.description
    assert "7 images (a tenth of each class, seed 0)" in split.description
    assert "treated as public" in split.description


def test_the_held_out_images_follow_the_seed(tmp_path: Path) -> None:
    _fill(tmp_path, "train", {"cat": 50, "dog": 50})
    first, again, other = _load(tmp_path), _load(tmp_path), _load(tmp_path, seed=1)
    assert torch.equal(first.test.images, again.test.images)
    assert not torch.equal(first.test.images, other.test.images)


def test_files_of_the_system_are_ignored(tmp_path: Path) -> None:
    _fill(tmp_path, "train", {"cat": 2, "dog": 2})
    _fill(tmp_path, "test", {"cat": 1, "dog": 1})
    for name in ("train/.DS_Store", "train/cat/.DS_Store", "train/cat/Thumbs.db", "test/dog/desktop.ini"):
        (tmp_path / name).write_bytes(b"no image")
    for name in ("train/.cache", "train/cat/.cache"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.bin").write_bytes(b"no image")
    assert len(_load(tmp_path).train) == 4


def _message(root: Path | None) -> str:
    with pytest.raises(DataError) as caught:
        load_data("folder", data_dir=root, image_size=8)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_no_folder_named() -> None:
    assert "needs --data-dir DIR" in _message(None)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    assert _message(tmp_path / "absent").startswith(f"data folder '{tmp_path}/absent' does not exist")


def test_a_folder_without_train(tmp_path: Path) -> None:
    assert "has no train/ inside: put the images in DIR/train/<class>/" in _message(tmp_path)


def test_fewer_than_two_classes(tmp_path: Path) -> None:
    _fill(tmp_path, "train", {"cat": 2})
    assert _message(tmp_path).startswith(f"{tmp_path}/train/ has 1 class folder; two are the least")


def test_images_outside_any_class(tmp_path: Path) -> None:
    _save(tmp_path / "train/0.png", 0)
    assert _message(tmp_path).startswith(f"{tmp_path}/train/ has 0 class folders; two are the least")


def test_an_empty_class(tmp_path: Path) -> None:
    _fill(tmp_path, "train", {"cat": 2, "dog": 2})
    (tmp_path / "train/elk").mkdir()
    (tmp_path / "train/elk/.DS_Store").touch()
    assert _message(tmp_path).startswith(f"class 'elk' has no images in {tmp_path}/train/elk/")


def test_a_file_that_is_no_image(tmp_path: Path) -> None:
    _fill(tmp_path, "train", {"cat": 2, "dog": 2})
    (tmp_path / "train/cat/notes.txt").write_text("secret words")
    message = _message(tmp_path)
    assert message == "train/cat/notes.txt is not a readable image: remove it or replace it"


def test_a_truncated_image(tmp_path: Path) -> None:
    _fill(tmp_path, "train", {"cat": 2, "dog": 2})
    whole = (tmp_path / "train/dog/001.png").read_bytes()
    (tmp_path / "train/dog/001.png").write_bytes(whole[: len(whole) // 2])
    assert _message(tmp_path).startswith("train/dog/001.png is not a readable image")


@pytest.mark.parametrize(
    ("test_classes", "start"),
    [
        ({"cat": 1}, "{root}/test/ has 1 class folder"),
        ({"cat": 1, "elk": 1}, "class 'dog' is in train/ but not in test/"),
        ({"cat": 1, "dog": 1, "elk": 1}, "class 'elk' is in test/ but not in train/"),
    ],
)
def test_classes_that_differ(tmp_path: Path, test_classes: dict[str, int], start: str) -> None:
    _fill(tmp_path, "train", {"cat": 2, "dog": 2})
    _fill(tmp_path, "test", test_classes)
    assert _message(tmp_path).startswith(start.replace("{root}", str(tmp_path)))


def test_a_class_too_small_to_hold_one_image_out(tmp_path: Path) -> None:
    _fill(tmp_path, "train", {"cat": 2, "dog": 1})
    assert _message(tmp_path).startswith("class 'dog' has a single image, and there is no test/")


def test_a_folder_that_must_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train").mkdir()

    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"train cannot be read \(Permission denied\): permit reading it$"):
        load_data("folder", data_dir=tmp_path)


def test_a_class_that_must_not_be_read_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "train" / name).mkdir(parents=True)

    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refuse)
    monkeypatch.setattr("common.data.folder._folders_in", lambda _folder: ["cat", "dog"])
    with pytest.raises(DataError, match=r"train/cat cannot be read \(Permission denied\)"):
        load_data("folder", data_dir=tmp_path)
