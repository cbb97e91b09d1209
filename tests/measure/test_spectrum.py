"""The spectrum of samples against closed forms: gratings, white noise, blur."""

import math

import numpy as np
import pytest

from singan_tf.measure import spectrum

TILE = spectrum.TILE
# In the middle of their bands, with the lobe that the window makes of a wave.
WAVES = [(25, 3), (20, 15), (-10, 23), (3, 21), (-28, 4)]
EDGES = np.linspace(0.06, 0.48, spectrum.RINGS + 1)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def white(rng, deviation=0.1, side=480):
    return rng.normal(0, deviation, [1, side, side, 1])


def grating(across, down, amplitude, phase=0.0, side=480):
    """A wave of so many periods in a tile, [1, side, side, 1]."""
    y, x = np.mgrid[:side, :side] / TILE
    wave = np.cos(2 * np.pi * (across * x + down * y) + phase)
    return amplitude * wave[None, :, :, None]


def band(across, down):
    """The ring and the sector of a wave, from the definition."""
    ring = np.searchsorted(EDGES, math.hypot(across, down) / TILE, "right") - 1
    angle = math.degrees(math.atan2(down, across)) % 180
    return int(ring), int(angle // (180 / spectrum.DIRECTIONS))


def frequencies(ring, direction):
    """The waves of a band, those that go both ways."""
    whole = range(-TILE // 2, TILE // 2)
    return [
        (across, down)
        for across in whole
        for down in whole
        if (across, down) != (0, 0) and band(across, down) == (ring, direction)
    ]


def grating_power(ring, direction, amplitude):
    """A grating's power over that of white noise of deviation 1, in its band.

    By Parseval each of its two waves has A^2 / 4 of the window's energy, TILE^2 times,
    and noise the window's energy at every frequency.
    """
    return amplitude**2 / 2 * TILE**2 / len(frequencies(ring, direction))


@pytest.mark.parametrize("wave", WAVES)
def test_a_grating_is_the_predicted_excess_in_its_band_and_nothing_elsewhere(rng, wave):
    photograph, amplitude = white(rng), 0.05
    # Over a turn of its phase, what it has in common with the noise adds up to nothing.
    phases = np.arange(4) * np.pi / 2
    samples = [photograph + grating(*wave, amplitude, phase) for phase in phases]
    found = spectrum.levels(samples, photograph)
    place = band(*wave)
    expected = 10 * math.log10(1 + grating_power(*place, amplitude / 0.1))
    assert expected > 8
    assert found[place] == pytest.approx(expected, abs=0.5)
    others = np.delete(found.ravel(), np.ravel_multi_index(place, found.shape))
    assert np.abs(others).max() < 0.15
    summed = spectrum.compare(samples, photograph)
    assert summed.worst == found[place] and summed.rms < summed.worst
    assert (summed.frequency, summed.direction) == pytest.approx(
        (0.06 * (place[0] + 1.5), 15 * place[1] + 7.5)
    )


def test_upright_stripes_have_the_direction_0_and_level_ones_90(rng):
    for wave, expected in (((20, 1), 7.5), ((-1, 20), 97.5)):
        sample = 0 * white(rng) + grating(*wave, 0.1)
        found = spectrum.compare([sample], 0 * sample)
        assert found.direction == expected


def test_noise_of_twice_the_deviation_is_6_dB_everywhere(rng):
    photograph = white(rng)
    exact = spectrum.levels([2 * photograph], photograph)
    np.testing.assert_allclose(exact, 20 * np.log10(2))
    samples = [white(rng, 0.2) for _ in range(3)]
    found = spectrum.levels(samples, white(rng, 0.1, 960))
    assert np.mean(found) == pytest.approx(20 * np.log10(2), abs=0.05)
    np.testing.assert_allclose(found, 20 * np.log10(2), atol=0.7)
    summed = spectrum.compare(samples, white(rng, 0.1, 960))
    assert summed.rms == pytest.approx(20 * np.log10(2), abs=0.1)


@pytest.mark.parametrize("sigma", [0.3, 0.7])
def test_blur_is_the_attenuation_of_its_gaussian(rng, sigma):
    photograph = white(rng)
    down = np.fft.fftfreq(480)[:, np.newaxis]
    response = np.exp(-2 * (np.pi * sigma) ** 2 * (down**2 + down.T**2))
    grey = photograph[0, :, :, 0]
    blurred = np.fft.ifft2(np.fft.fft2(grey) * response).real[None, :, :, None]
    found = spectrum.levels([blurred], photograph)
    for ring in range(spectrum.RINGS):
        for direction in range(spectrum.DIRECTIONS):
            squares = np.sum(np.square(frequencies(ring, direction)), axis=1) / TILE**2
            powers = np.exp(-4 * (np.pi * sigma) ** 2 * squares)
            expected = 10 * np.log10(powers.mean())
            assert found[ring, direction] == pytest.approx(expected, abs=0.25)
    assert spectrum.compare([blurred], photograph).worst < 0


def test_a_copy_is_exactly_0(rng):
    photograph = rng.uniform(-1, 1, [1, 100, 130, 3]).astype(np.float32)
    assert (spectrum.levels([photograph], photograph) == 0).all()
    assert spectrum.compare([photograph] * 4, photograph)[:2] == (0, 0)
    # Brightness and sign are no matter of power.
    changed = np.float32(0.5) - photograph
    np.testing.assert_allclose(spectrum.levels([changed], photograph), 0, atol=1e-4)


def test_flat_images_have_finite_levels():
    flat = np.full([1, 70, 90, 3], 0.3, np.float32)
    for value in (0.3, -1.0, 1.0):
        found = spectrum.levels([np.full_like(flat, value)], flat)
        assert (found == 0).all()
    wave = grating(25, 3, 0.1, side=480)
    place = band(25, 3)
    # Over noise of a tenth of a level, which is the least that counts.
    expected = 10 * math.log10(grating_power(*place, 0.1 * 127.5 / 0.1))
    found = spectrum.levels([wave], 0 * wave)
    assert found[place] == pytest.approx(expected, abs=0.1)
    lost = spectrum.levels([0 * wave], wave)
    assert lost[place] == pytest.approx(-expected, abs=0.1)


def test_the_mean_is_that_of_powers_and_colours_are_their_grey_values(rng):
    photograph = white(rng, side=200)
    samples = [photograph * factor for factor in (0.5, 1, 3)]
    expected = 10 * np.log10((0.25 + 1 + 9) / 3)
    np.testing.assert_allclose(spectrum.levels(samples, photograph), expected)
    # What the channels cancel is not seen.
    coloured = photograph + white(rng, side=200) * [1, -1, 0]
    np.testing.assert_allclose(spectrum.levels([coloured], photograph), 0, atol=1e-6)


def test_tiles_lie_half_a_tile_apart_from_the_corner_on(rng):
    image, half = white(rng, side=3 * TILE // 2), TILE // 2
    tiles = [image[:, y : y + TILE, x : x + TILE] for y in (0, half) for x in (0, half)]
    photograph = white(rng, side=TILE)
    apart = [spectrum.levels([tile], photograph) for tile in tiles]
    expected = 10 * np.log10(np.mean([10 ** (level / 10) for level in apart], axis=0))
    found = spectrum.levels([image], photograph)
    np.testing.assert_allclose(found, expected)
    wider = np.pad(image, ((0, 0), (0, half - 1), (0, half - 1), (0, 0)))
    np.testing.assert_array_equal(spectrum.levels([wider], photograph), found)


def test_sizes_may_differ_but_a_tile_must_fit(rng):
    image, other = white(rng, side=100), white(rng, side=64)
    assert spectrum.levels([other, image], image).shape == (7, 12)
    assert spectrum.compare([image], image[:, :63]) is None
    assert spectrum.compare([image, image[:, :, :63]], image) is None
    assert spectrum.levels([], image) is None


def test_tiles_that_are_not_inside_are_left_out(rng):
    photograph, sample = white(rng, side=160), white(rng, 0.2, side=160)
    inside = np.zeros([160, 160], bool)
    inside[20:130, 40:] = True
    found = spectrum.levels([sample], photograph, inside)
    broken = np.where(inside[:, :, np.newaxis], photograph, 9)
    np.testing.assert_array_equal(spectrum.levels([sample], broken, inside), found)
    # The tiles there begin at multiples of 32.
    cut = photograph[:, 32:128, 64:160]
    np.testing.assert_allclose(found, spectrum.levels([sample], cut))
    inside[:, 96:] = False
    assert spectrum.levels([sample], photograph, inside) is None
