"""Retargeting: what is carved, and what the command makes of it."""

import itertools

import numpy as np
import pytest
from helpers import pixels, run, sentence

from singan_tf import api, images
from singan_tf.runs.folder import RunFolder
from singan_tf.tasks import retargeting


class Certain:
    """A generator by which nothing is left to chance."""

    def random(self, shape):
        return np.zeros(shape)


@pytest.fixture
def scene():
    """A noisy square on a plain ground, float32 [16, 30, 3], and its place."""
    image = np.full([16, 30, 3], 0.25, np.float32)
    square = np.s_[4:12, 11:19]
    image[square] = np.random.default_rng(0).uniform(-1, 1, [8, 8, 3])
    return image, square


def neighbours(image, numbers):
    """Differences of the pixels that lie side by side, by the pixels' numbers."""
    found = {}
    for here, there in (
        (np.s_[:, :-1], np.s_[:, 1:]),
        (np.s_[:-1], np.s_[1:]),
    ):
        pairs = zip(numbers[here].flat, numbers[there].flat)
        differences = np.abs(image[here] - image[there]).sum(axis=-1)
        found.update(zip(pairs, differences.flat))
    return found


def test_a_seam_is_the_one_after_which_new_neighbours_differ_least():
    """Of all seams of small pictures, each taken out and its neighbours compared."""
    height, width = 4, 4
    # Beyond a border a pixel has its like, which stays.
    numbers = np.arange(height * (width + 2)).reshape(height, width + 2)
    for seed in range(10):
        image = np.random.default_rng(seed).random([height, width, 2], np.float32)
        padded = np.pad(image, [(0, 0), (1, 1), (0, 0)], mode="edge")
        before = neighbours(padded, numbers)
        costs = {}
        for seam in itertools.product(range(width), repeat=height):
            if np.abs(np.diff(seam)).max() > 1:
                continue
            kept = np.ones([height, width + 2], bool)
            kept[np.arange(height), np.add(seam, 1)] = False
            after = neighbours(
                padded[kept].reshape(height, width + 1, 2),
                numbers[kept].reshape(height, width + 1),
            )
            costs[seam] = sum(after[pair] for pair in after.keys() - before.keys())
        found = retargeting._find_seam(image, Certain())
        assert (found.sum(axis=1) == 1).all()
        assert tuple(found.argmax(axis=1)) == min(costs, key=costs.get)


@pytest.mark.parametrize("width", [22, 42])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_thing_on_a_plain_ground_keeps_its_pixels(scene, width, seed):
    image, square = scene
    carved = retargeting.carve(image, 16, width, seed)
    assert carved.shape == (16, width, 3)
    left = (carved != 0.25).any(axis=(0, 2)).argmax()
    np.testing.assert_array_equal(carved[4:12, left : left + 8], image[square])
    assert (carved != 0.25).any(axis=2).sum() == 64


def test_every_row_keeps_its_order():
    """Of an image whose values count its columns, and its rows."""
    rows, columns = np.mgrid[:12, :20].astype(np.float32)
    noise = np.random.default_rng(1).random([12, 20], np.float32)
    image = np.stack([noise, rows, columns], axis=-1)
    # The counts are to be seen in the result, not in the costs.
    image[..., 1:] *= 1e-6
    narrow = retargeting.carve(image, 12, 13, 0)
    assert (np.diff(narrow[..., 2], axis=1) > 0).all()
    low = retargeting.carve(image, 7, 20, 0)
    assert (np.diff(low[..., 1], axis=0) > 0).all()
    large = retargeting.carve(image, 30, 45, 0)
    assert large.shape == (30, 45, 3)
    assert {tuple(each) for each in large.reshape(-1, 3)} == {
        tuple(each) for each in image.reshape(-1, 3)
    }


def test_seeds_carve_otherwise():
    image = np.random.default_rng(2).random([12, 20, 3], np.float32)
    first, again, other = (retargeting.carve(image, 12, 14, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_command_draws_what_python_does(capsys, tmp_path, finished):
    arguments = [f"--run_dir={finished}", "--retarget", "--seed=4", "--scale_h=1.5"]
    drawn, every = tmp_path / "drawn", tmp_path / "every"
    run(capsys, "sample", *arguments, f"--output_dir={drawn}", "--num_samples=2")
    model = api.load(finished)
    last = len(model.singan.sizes) - 1
    photograph = images.read(RunFolder(finished).real(last))[0]
    height, width = model.size
    for seed in (4, 5):
        made = model.retarget(photograph, height, round(1.5 * width), seed)
        found = pixels(drawn / f"seed_{seed:06d}.png")
        np.testing.assert_array_equal(images.to_uint8(made), found)
    # One side alone leaves the other as it is.
    assert arguments[-1] == "--scale_h=1.5"
    arguments[-1] = f"--width={round(1.5 * width)}"
    arguments += ["--start_scale=all", f"--output_dir={every}", "--num_samples=1"]
    run(capsys, "sample", *arguments)
    scales = sorted(path.name for path in every.glob("seed_*"))
    assert scales == [
        f"seed_000004_scale_{scale:02d}.png" for scale in range(1, last + 1)
    ]
    np.testing.assert_array_equal(
        pixels(every / "seed_000004_scale_01.png"), pixels(drawn / "seed_000004.png")
    )


@pytest.mark.parametrize("start_scale", [0, 9])
def test_a_scale_that_there_is_not_is_refused(finished, start_scale):
    model = api.load(finished)
    photograph = np.zeros([*model.size, 3], np.float32)
    with pytest.raises(ValueError, match=f"start_scale {start_scale} is not from 1 to"):
        model.retarget(photograph, *model.size, start_scale=start_scale)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "--scale_h"),
        (["--width=90", "--noise_scale=1"], "--noise_scale"),
        (["--width=90", "--start_scale=0"], "--start_scale=0"),
        (["--width=90", "--start_scale=9"], "--start_scale=9"),
        (["--keep=mask.png"], "--keep"),
        (["--width=1"], "--width=1"),
    ],
)
def test_what_does_not_go_with_it_is_told(capsys, tmp_path, finished, arguments, word):
    folder = tmp_path / "out"
    status, _, error = run(
        capsys,
        "sample",
        f"--run_dir={finished}",
        "--retarget",
        f"--output_dir={folder}",
        *arguments,
    )
    assert status == 2 and word in sentence(error)
    assert not folder.exists()
