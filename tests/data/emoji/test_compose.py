"""Laying sprites on a ground: places, sizes, colours, who owns which pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparse_ovs.data.emoji.compose import GROUND, Look, Sprite, compose
from sparse_ovs.data.emoji.grounds import GROUNDS, make_ground

STILL = Look(alone=(0.5, 0.5), together=(0.4, 0.4), turn=0, light=0, saturation=0, hue=0)


def filled(red: int = 200, green: int = 100, blue: int = 50) -> Sprite:
    pixels = np.empty((96, 96, 4), np.uint8)
    pixels[:] = (red, green, blue, 255)
    return Sprite(pixels)


def draw(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(st.integers(0, 10**6), st.integers(0, 4), st.sampled_from([33, 64, 128]))
def test_every_pixel_is_a_thing_s_or_the_ground_s(seed: int, things: int, size: int) -> None:
    picture, owners = compose(draw(seed), seed % 8, [filled()] * things, size, Look())
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    assert owners.shape == (size, size)
    assert set(np.unique(owners)) <= {GROUND, *range(things)}


def test_the_same_random_numbers_give_the_same_picture() -> None:
    first, second = (compose(draw(3), 1, [filled()], 64, Look()) for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


@pytest.mark.parametrize("size", [64, 128])
def test_a_single_thing_has_the_size_that_was_asked_for(size: int) -> None:
    for seed in range(20):
        owners = compose(draw(seed), 0, [filled()], size, STILL)[1]
        assert (owners == 0).sum() == pytest.approx((0.5 * size) ** 2, rel=0.07)


def test_unchanged_colours_are_the_sprite_s() -> None:
    picture, owners = compose(draw(), 0, [filled(200, 100, 50)], 64, STILL)
    inner = picture[owners == 0]
    assert np.median(inner, axis=0).tolist() == pytest.approx([200, 100, 50], abs=1)


def test_things_vary_in_colour_where_they_may() -> None:
    look = Look(light=0.3, saturation=0.3, hue=0.3)
    medians = [
        np.median(picture[owners == 0], axis=0)
        for picture, owners in (compose(draw(s), 0, [filled()], 64, look) for s in range(8))
    ]
    assert np.std(medians, axis=0).min() > 5


def test_grey_things_stay_grey_whatever_the_hue() -> None:
    look = Look(light=0, saturation=0.5, hue=1.0)
    picture, owners = compose(draw(1), 0, [filled(120, 120, 120)], 64, look)
    assert np.median(picture[owners == 0], axis=0).tolist() == pytest.approx([120] * 3, abs=1)


def test_a_later_thing_lies_over_an_earlier_one() -> None:
    look = Look(together=(1.6, 1.6), turn=0, light=0, saturation=0, hue=0)
    things = [filled(255, 0, 0), filled(0, 0, 255)]
    picture, owners = compose(draw(2), 0, things, 64, look)
    assert (owners == 1).sum() > (owners == 0).sum()
    assert np.median(picture[owners == 1], axis=0).tolist() == pytest.approx([0, 0, 255], abs=1)


def test_no_thing_among_four_is_hidden() -> None:
    for seed in range(50):
        owners = compose(draw(seed), 0, [filled()] * 4, 128, Look())[1]
        assert min((owners == place).sum() for place in range(4)) > 200


def test_a_transparent_thing_owns_nothing_and_lets_the_ground_through() -> None:
    nothing = Sprite(np.zeros((96, 96, 4), np.uint8))
    picture, owners = compose(draw(4), 5, [nothing], 64, STILL)
    alone, _ = compose(draw(4), 5, [], 64, STILL)
    assert (owners == GROUND).all()
    np.testing.assert_array_equal(picture, alone)


def test_a_mirrored_sprite_is_the_sprite_mirrored() -> None:
    pixels = np.zeros((96, 96, 4), np.uint8)
    pixels[:, :48] = 255
    halves = Sprite(pixels)
    plain, turned = (halves.drawn(48, 0, mirrored, 0, 0) for mirrored in (False, True))
    np.testing.assert_allclose(plain[:, ::-1], turned, atol=1)


def test_a_sprite_is_scaled_down_without_aliasing() -> None:
    pixels = np.zeros((96, 96, 4), np.uint8)
    pixels[::2] = 255  # lines of one pixel: grey from afar
    small = Sprite(pixels).drawn(24, 0, False, 0, 0)
    assert np.ptp(small[4:-4, 4:-4, 0].astype(int)) < 10


def test_a_sprite_turns_by_the_angle() -> None:
    pixels = np.zeros((96, 96, 4), np.uint8)
    pixels[44:52] = 255  # a bar from left to right
    upright = Sprite(pixels).drawn(64, np.pi / 2, False, 0, 0)[..., 3]
    rows, columns = np.nonzero(upright > 127)
    assert np.ptp(rows) > 55
    assert np.ptp(columns) < 8


@pytest.mark.parametrize("ground", range(len(GROUNDS)))
def test_every_ground_has_its_colour_and_varies(ground: int) -> None:
    means = [make_ground(draw(seed), ground, 64).mean((0, 1)) for seed in range(8)]
    assert make_ground(draw(0), ground, 64).dtype == np.float32
    assert np.std(means, axis=0).min() > 2
    assert make_ground(draw(0), ground, 64).std((0, 1)).min() > 3


def test_grounds_look_unlike() -> None:
    means = [
        np.mean([make_ground(draw(seed), ground, 48) for seed in range(12)], axis=(0, 1, 2))
        for ground in range(len(GROUNDS))
    ]
    for one in range(len(GROUNDS)):
        for other in range(one):
            assert np.abs(means[one] - means[other]).max() > 15
