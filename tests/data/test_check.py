"""What the check of a dataset counts, and what it finds wrong."""

from pathlib import Path

import numpy as np
import pytest

from data.miniature import coco, folder, voc
from data.miniature.common import save
from sparse_ovs.data import Scenes, open_dataset
from sparse_ovs.data.check import check


def test_a_good_dataset_is_counted_by_class(tmp_path: Path) -> None:
    expected = folder.narrow(tmp_path, "folder")
    expected["two"] = np.ones((4, 3), np.int32)
    save(tmp_path / "labels/two.png", expected["two"].astype(np.uint8))
    report = check(open_dataset("folder", tmp_path))
    assert report.good
    assert report.images == 2
    every = np.concatenate([values.ravel() for values in expected.values()])
    assert report.pixels.tolist() == [int((every == k).sum()) for k in range(3)]
    assert report.ignored == int((every == -1).sum())
    assert report.images_with.tolist() == [1, 2, 1]


def test_unknown_ids_are_counted_and_placed(tmp_path: Path) -> None:
    voc.raw(tmp_path, "voc20")
    ids = np.full((4, 3), 5, np.uint8)
    ids[0] = 77
    save(tmp_path / "VOCdevkit/VOC2012/SegmentationClass/two.png", ids)
    dataset = open_dataset("voc20", tmp_path)
    report = check(dataset)
    assert not report.good
    assert report.unknown == {77: 3}
    assert report.unknown_in == {77: "two"}
    assert (dataset[1].labels[0] == -1).all()


def test_segments_that_the_annotations_do_not_list_are_unknown(tmp_path: Path) -> None:
    coco.panoptic(tmp_path, "coco133")
    colours = np.zeros((4, 3, 3), np.uint8)
    colours[0, 0] = (1, 2, 0)
    save(tmp_path / "coco/panoptic_val2017/two.png", colours)
    assert check(open_dataset("coco133", tmp_path)).unknown == {-513: 1}


def test_unreadable_files_do_not_stop_it(tmp_path: Path) -> None:
    voc.raw(tmp_path, "voc20")
    (tmp_path / "VOCdevkit/VOC2012/JPEGImages/one.jpg").write_bytes(b"cut")
    report = check(open_dataset("voc20", tmp_path))
    assert report.images == 1
    assert list(report.unreadable) == ["one"]
    assert "expected a readable image" in report.unreadable["one"]


def test_it_says_how_far_it_is_and_stops_at_the_limit() -> None:
    said: list[tuple[int, int]] = []
    report = check(Scenes(size=32), 3, lambda done, total: said.append((done, total)))
    assert said == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert report.images == 3
    assert report.pixels.sum() == 3 * 32 * 32


@pytest.mark.parametrize("limit", [None, 5])
def test_a_limit_beyond_the_end_is_the_end(limit: int | None) -> None:
    assert check(Scenes(size=32, count=2), limit).images == 2
