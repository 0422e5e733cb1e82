"""Photos of every kind come as upright RGB of 8 bits, labels as the numbers in the file."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sparse_ovs.data.images import read_colours, read_ids, read_image, to_rgb


def saved(tmp_path: Path, image: Image.Image, name: str = "image.png", **options: object) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


def test_grey_photos_come_with_three_equal_channels(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path, Image.new("L", (3, 2), 77)))
    assert image.mode == "RGB"
    assert image.getpixel((0, 0)) == (77, 77, 77)


def test_alpha_is_dropped(tmp_path: Path) -> None:
    image = read_image(saved(tmp_path, Image.new("RGBA", (3, 2), (9, 8, 7, 0))))
    assert image.getpixel((2, 1)) == (9, 8, 7)


def test_palettes_become_their_colours(tmp_path: Path) -> None:
    indexed = Image.new("P", (3, 2), 1)
    indexed.putpalette([0, 0, 0, 10, 20, 30])
    assert read_image(saved(tmp_path, indexed)).getpixel((0, 0)) == (10, 20, 30)


@pytest.mark.parametrize(
    ("value", "seen"), [(0, 0), (200, 1), (257, 1), (32896, 128), (65535, 255)]
)
@pytest.mark.parametrize("end", ["png", "tif"])
def test_grey_of_16_bits_is_scaled_not_clipped(
    value: int, seen: int, end: str, tmp_path: Path
) -> None:
    wide = Image.fromarray(np.full((2, 3), value, np.uint16))
    image = read_image(saved(tmp_path, wide, f"wide.{end}"))
    assert image.getpixel((1, 1)) == (seen, seen, seen)


def test_photos_stand_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 2))
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise by a quarter
    upright = read_image(saved(tmp_path, image, exif=exif))
    assert upright.size == (2, 4)
    assert upright.getpixel((1, 0)) == (255, 0, 0)


def test_one_pixel_is_a_photo(tmp_path: Path) -> None:
    assert read_image(saved(tmp_path, Image.new("RGB", (1, 1), (1, 2, 3)))).size == (1, 1)


@pytest.mark.parametrize("content", [b"", b"\x89PNG", b"no image at all"])
def test_files_that_are_no_images_are_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"expected a readable image, got .*cut\.png"):
        read_image(path)
    with pytest.raises(ValueError, match=r"expected readable labels, got .*cut\.png"):
        read_ids(path)


def test_a_photo_that_ends_early_is_named(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), "cut.jpg")
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(ValueError, match=r"expected a readable image, got .*cut\.jpg"):
        read_image(path)


@pytest.mark.parametrize("end", ["png", "jpg", "tif"])
@pytest.mark.filterwarnings("ignore")  # decoders warn of much in damaged files
def test_damaged_files_are_read_or_refused_and_nothing_else(end: str, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    noise = draw.integers(0, 256, (20, 24, 3)).astype(np.uint8)
    path = saved(tmp_path, Image.fromarray(noise), f"image.{end}")
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    refused = 0
    for _ in range(200):
        damaged = whole.copy()
        damaged[draw.integers(0, min(len(whole), 200), 3)] = draw.integers(0, 256, 3)
        path.write_bytes(damaged.tobytes())
        try:
            read_image(path)
        except ValueError:
            refused += 1
    assert refused > 10


def test_missing_files_are_named(tmp_path: Path) -> None:
    for read in (read_image, read_ids, read_colours):
        with pytest.raises(ValueError, match=r"at .*gone\.png, got no such file"):
            read(tmp_path / "gone.png")


def test_floating_point_pixels_are_refused() -> None:
    with pytest.raises(ValueError, match="8 or 16 bits, got floating point"):
        to_rgb(Image.new("F", (2, 2)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("end", ["png", "tif"])
def test_labels_are_the_numbers_of_the_file(dtype: type, end: str, tmp_path: Path) -> None:
    highest = np.iinfo(dtype).max
    ids = np.array([[0, 1, 7], [highest - 1, highest, 200]], dtype)
    found = read_ids(saved(tmp_path, Image.fromarray(ids), f"ids.{end}"))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, ids)


def test_labels_with_a_palette_are_its_indices(tmp_path: Path) -> None:
    indexed = Image.new("P", (2, 1))
    indexed.putdata([3, 255])
    indexed.putpalette([7] * 768)
    np.testing.assert_array_equal(read_ids(saved(tmp_path, indexed)), [[3, 255]])


def test_labels_of_one_bit_are_0_and_1(tmp_path: Path) -> None:
    bits = Image.new("1", (2, 1))
    bits.putpixel((1, 0), 1)
    np.testing.assert_array_equal(read_ids(saved(tmp_path, bits)), [[0, 1]])


def test_labels_in_colours_are_refused_where_ids_are_expected_and_the_other_way(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match=r"expected labels of one channel .*, got mode RGB"):
        read_ids(saved(tmp_path, Image.new("RGB", (2, 2))))
    with pytest.raises(ValueError, match="expected labels coded in RGB, got mode L"):
        read_colours(saved(tmp_path, Image.new("L", (2, 2))))
