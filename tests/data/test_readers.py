"""Every dataset, from the raw download and from every tree that users have of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data.miniature import ade, cityscapes, coco, context, folder, voc
from data.miniature.common import Labels, photos
from sparse_ovs.data import DATASETS, open_dataset

Build = Callable[[Path, str], Labels]

TREES: list[tuple[str, Build]] = [
    ("coco133", coco.panoptic),
    ("coco133", coco.panoptic_at_the_root),
    ("coco133", coco.semseg),
    ("stuff171", coco.stuff),
    ("stuff171", coco.stuff_cat_seg_raw),
    ("stuff171", coco.stuff_mmseg_raw),
    ("stuff171", coco.stuff_detectron2),
    ("stuff171", coco.stuff_cat_seg),
    ("stuff171", coco.stuff_mmseg),
    ("stuff171", coco.stuff_mmseg_at_the_root),
    ("ade150", ade.raw150),
    ("ade150", ade.mmseg150),
    ("ade150", ade.detectron2_150),
    ("ade847", ade.raw847),
    ("ade847", ade.detectron2_847),
    *(
        (name, build)
        for name in ("voc20", "voc21", "voc20b")
        for build in (voc.raw, voc.at_the_root)
    ),
    *((name, voc.detectron2) for name in ("voc20", "voc21", "voc20b")),
    ("voc20", voc.san),
    ("voc20b", voc.san),
    ("voc20", voc.san_copied_images),
    *(
        (name, build)
        for name in ("pc59", "pc60")
        for build in (context.raw, context.mmseg, context.detectron2, context.san, context.cat_seg)
    ),
    ("pc459", context.raw459),
    ("pc459", context.detectron2_459),
    ("pc459", context.cat_seg_459),
    ("pc459", context.san_459),
    ("cityscapes19", cityscapes.raw),
    ("cityscapes19", cityscapes.at_the_root),
    ("cityscapes19", cityscapes.train_ids),
    ("folder", folder.narrow),
    ("folder", folder.wide),
    ("folder", folder.in_splits),
]
COUNTS = {
    "coco133": 133, "stuff171": 171, "ade150": 150, "ade847": 847, "voc20": 20, "voc21": 21,
    "voc20b": 21, "pc59": 59, "pc60": 60, "pc459": 459, "cityscapes19": 19,
}  # fmt: skip


def build(tree: Build, root: Path, name: str) -> Labels:
    return tree(root, name)


@pytest.mark.parametrize(
    ("name", "tree"), TREES, ids=[f"{n}-{t.__module__[15:]}.{t.__name__}" for n, t in TREES]
)
def test_labels_of_the_tree_are_the_classes(name: str, tree: Build, tmp_path: Path) -> None:
    expected = build(tree, tmp_path, name)
    dataset = open_dataset(name, tmp_path)
    assert dataset.name == name
    assert {sample.name for sample in dataset} == set(expected)
    for sample in dataset:
        assert sample.labels.dtype == np.int32
        assert sample.image.mode == "RGB"
        assert (sample.image.height, sample.image.width) == sample.labels.shape
        np.testing.assert_array_equal(sample.labels, expected[sample.name])
    assert all(not dataset.inspect(k).unknown for k in range(len(dataset)))


def rename_to_train(root: Path) -> None:
    """Makes a training split of the val split, by the names of files, folders and phases."""
    for path in sorted(root.rglob("*"), key=lambda path: len(path.parts), reverse=True):
        name = path.name.replace("validation", "training").replace("val", "train")
        if name != path.name and not path.name.startswith("trainval"):
            path.rename(path.with_name(name))
    for path in root.rglob("*.json"):
        text = path.read_text().replace('"phase": "train"', '"phase": "test"')
        path.write_text(text.replace('"phase": "val"', '"phase": "train"'))


@pytest.mark.parametrize(
    ("name", "tree"),
    [(n, t) for n, t in TREES if t not in (ade.raw847, folder.in_splits)],
)
def test_the_training_split_lies_as_the_val_split(name: str, tree: Build, tmp_path: Path) -> None:
    expected = build(tree, tmp_path, name)
    rename_to_train(tmp_path)
    dataset = open_dataset(name, tmp_path, "train")
    for sample in dataset:
        np.testing.assert_array_equal(sample.labels, expected[sample.name])


def test_the_index_of_ade847_knows_the_training_images(tmp_path: Path) -> None:
    ade.raw847(tmp_path, "ade847")
    dataset = open_dataset("ade847", tmp_path, "train")
    assert [dataset.name_of(k) for k in range(len(dataset))] == ["other"]


@pytest.mark.parametrize("name", COUNTS)
def test_there_are_as_many_classes_as_the_name_says(name: str, tmp_path: Path) -> None:
    tree = next(
        tree for known, tree in reversed(TREES) if known == name
    )  # the last needs no package
    build(tree, tmp_path, name)
    classes = open_dataset(name, tmp_path).classes
    assert len(classes) == COUNTS[name]
    assert len(set(classes)) == len(classes)


def test_every_dataset_on_disk_has_a_tree_here() -> None:
    assert {name for name, _ in TREES} == DATASETS.keys() - {"scenes", "emoji"}


def test_every_dataset_has_a_row_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    for name, known in DATASETS.items():
        images = "" if known.images is None else f" {known.images} |"
        assert f"\n| `{name}` |{images}" in text


def test_names_of_coco_are_words(tmp_path: Path) -> None:
    coco.panoptic(tmp_path, "coco133")
    classes = open_dataset("coco133", tmp_path).classes
    assert classes[0] == "thing 0"
    assert classes[132] == "stuff 52"


def test_names_of_coco_stuff_are_words(tmp_path: Path) -> None:
    coco.stuff(tmp_path, "stuff171")
    classes = open_dataset("stuff171", tmp_path).classes
    assert (classes[0], classes[79], classes[80], classes[-1]) == (
        "person",
        "toothbrush",
        "banner",
        "wood",
    )
    assert {"building", "floor tile", "door stuff"} <= set(classes)


def test_names_of_ade150_come_with_their_synonyms_from_the_download(tmp_path: Path) -> None:
    ade.raw150(tmp_path, "ade150")
    assert open_dataset("ade150", tmp_path).classes[149] == "thing 150, object 150"


def test_names_of_ade847_are_those_of_the_objects(tmp_path: Path) -> None:
    ade.raw847(tmp_path, "ade847")
    classes = open_dataset("ade847", tmp_path).classes
    assert classes[0] == f"object {ade.object_id(0)}"


@pytest.mark.parametrize("style", ["named", "json"])
def test_the_table_of_ade847_can_be_elsewhere_and_name_the_classes(
    style: str, tmp_path: Path
) -> None:
    expected = ade.raw847(tmp_path, "ade847")
    (tmp_path / "ADE20K_2021_17_01/classes847.txt").unlink()
    table = tmp_path / "mine"
    ade.table(table, style)
    dataset = open_dataset("ade847", tmp_path, table=table)
    assert dataset.classes[:2] == ("class 0", "class 1")
    np.testing.assert_array_equal(dataset[0].labels, expected["one"])


def test_large_samples_of_ade847_are_made_smaller_as_in_the_reference(tmp_path: Path) -> None:
    ade.raw847(tmp_path, "ade847")
    dataset = open_dataset("ade847", tmp_path, short_side=2)
    whole = open_dataset("ade847", tmp_path, short_side=None)
    sample = dataset[1]
    assert sample.labels.shape == (3, 2)
    assert sample.image.size == (2, 3)
    assert set(sample.labels.ravel()) <= set(whole[1].labels.ravel())


def test_a_prepared_tree_of_pc459_saves_the_matlab_files(tmp_path: Path) -> None:
    expected = context.cat_seg_459(tmp_path, "pc459")
    (tmp_path / "VOCdevkit/VOC2010/trainval").mkdir()
    np.testing.assert_array_equal(open_dataset("pc459", tmp_path)[0].labels, expected["one"])


def test_the_background_is_named_where_it_is_a_class(tmp_path: Path) -> None:
    voc.raw(tmp_path, "voc21")
    context.mmseg(tmp_path, "pc60")
    found = {
        name: open_dataset(name, tmp_path).background
        for name in ("voc20", "voc21", "voc20b", "pc59", "pc60")
    }
    assert found == {
        "voc20": None,
        "voc21": "background",
        "voc20b": "background",
        "pc59": None,
        "pc60": "background",
    }
    assert open_dataset("voc21", tmp_path).classes[0] == "background"
    assert open_dataset("voc20b", tmp_path).classes[20] == "background"
    assert open_dataset("pc60", tmp_path).classes[0] == "background"


def test_voc20b_asks_for_the_names_of_context_with_those_of_voc_first(tmp_path: Path) -> None:
    voc.raw(tmp_path, "voc20b")
    context.mmseg(tmp_path, "pc59")
    asked = open_dataset("voc20b", tmp_path).vocabulary
    assert asked[:20] == open_dataset("voc20", tmp_path).classes
    others = set(open_dataset("pc59", tmp_path).classes) - {"table"}
    assert len(asked) == 59
    assert set(asked) == others | {"dining table"}


def test_the_root_is_found_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voc.raw(tmp_path, "voc20")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    assert len(open_dataset("voc20")) == 2
    monkeypatch.delenv("DETECTRON2_DATASETS")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="expected a folder of datasets, got datasets"):
        open_dataset("voc20")


def test_other_names_for_the_classes_come_from_a_file(tmp_path: Path) -> None:
    voc.raw(tmp_path, "voc21")
    names = tmp_path / "names"
    names.write_text("nothing, other\n" + "".join(f"thing {k}\n" for k in range(20)))
    dataset = open_dataset("voc21", tmp_path, names=names)
    assert dataset.classes[:2] == ("nothing, other", "thing 0")
    assert dataset.background == "nothing, other"
    names.write_text("too few\n")
    with pytest.raises(ValueError, match=r"expected 21 classes in .*names, got 1"):
        open_dataset("voc21", tmp_path, names=names)


def test_other_names_of_voc20b_are_for_all_that_it_asks_for(tmp_path: Path) -> None:
    voc.raw(tmp_path, "voc20b")
    names = tmp_path / "names"
    names.write_text("".join(f"thing {k}\n" for k in range(59)))
    dataset = open_dataset("voc20b", tmp_path, names=names)
    assert dataset.vocabulary[58] == "thing 58"
    assert dataset.classes == (*dataset.vocabulary[:20], "background")


def test_what_is_missing_is_listed_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected ade150 under .*, got none of: ") as caught:
        open_dataset("ade150", tmp_path)
    assert f"{tmp_path}/ADEChallengeData2016/annotations/validation (raw)" in str(caught.value)
    assert "annotations_detectron2/validation (detectron2)" in str(caught.value)


def test_a_tree_that_is_half_there_says_what_it_lacks(tmp_path: Path) -> None:
    ade.raw150(tmp_path, "ade150")
    (tmp_path / "ADEChallengeData2016/objectInfo150.txt").unlink()
    with pytest.raises(ValueError, match=r"got none of: \S*objectInfo150.txt \(raw\)$"):
        open_dataset("ade150", tmp_path)


def test_a_missing_image_is_named_when_it_is_asked_for(tmp_path: Path) -> None:
    voc.raw(tmp_path, "voc20")
    (tmp_path / "VOCdevkit/VOC2012/JPEGImages/two.jpg").unlink()
    dataset = open_dataset("voc20", tmp_path)
    assert dataset[0].name == "one"
    with pytest.raises(ValueError, match=r"expected an image at .*two\.jpg, got no such file"):
        dataset[1]


def test_labels_of_another_size_than_the_image_are_refused(tmp_path: Path) -> None:
    voc.raw(tmp_path, "voc20")
    photos(tmp_path / "VOCdevkit/VOC2012/JPEGImages", sizes={"one": (9, 9)})
    with pytest.raises(ValueError, match=r"size 9x9 in .*one\.png, got 5x7"):
        open_dataset("voc20", tmp_path)[0]


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("ade", "val", "expected a dataset of coco133, .*, got 'ade'"),
        ("ade150", "test", "expected split train or val, got 'test'"),
    ],
)
def test_unknown_names_and_splits_are_refused(
    name: str, split: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        open_dataset(name, tmp_path, split)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("voc20", "expected no options for voc20, got 'table'"),
        ("folder", "expected options of background for folder, got 'table'"),
        ("scenes", "expected options of size, count, seed for scenes, got 'table'"),
    ],
)
def test_options_of_other_datasets_are_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=message):
        open_dataset(name, tmp_path, table="ids.txt")


def test_scenes_take_no_other_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected scenes without other names"):
        open_dataset("scenes", names=tmp_path)


def test_own_images_without_labels_are_named(tmp_path: Path) -> None:
    folder.narrow(tmp_path, "folder")
    (tmp_path / "labels/two.png").unlink()
    with pytest.raises(ValueError, match=r"got none for 1: .*two\.png is missing"):
        open_dataset("folder", tmp_path)


def test_own_data_may_name_a_background(tmp_path: Path) -> None:
    folder.narrow(tmp_path, "folder")
    dataset = open_dataset("folder", tmp_path, background="class 0, kind 0")
    assert dataset.background == "class 0, kind 0"
    with pytest.raises(ValueError, match="expected background to be a line of"):
        open_dataset("folder", tmp_path, background="sky")


def test_two_own_images_of_one_name_are_refused(tmp_path: Path) -> None:
    folder.narrow(tmp_path, "folder")
    photos(tmp_path / "images", ".png")
    with pytest.raises(ValueError, match="expected one image named one"):
        open_dataset("folder", tmp_path)


def test_own_images_in_folders_have_their_labels_in_folders(tmp_path: Path) -> None:
    expected = folder.narrow(tmp_path, "folder")
    for kind, end in (("images", ".jpg"), ("labels", ".png")):
        (tmp_path / kind / "a").mkdir()
        (tmp_path / kind / f"two{end}").rename(tmp_path / kind / "a" / f"two{end}")
    dataset = open_dataset("folder", tmp_path)
    assert [sample.name for sample in dataset] == ["a/two", "one"]
    np.testing.assert_array_equal(dataset[0].labels, expected["two"])
