"""What is outside of a mask does not exist: it changes no bit of a run."""

import numpy as np
import pytest
from run_folders import assert_same_run, stored, train
from shapes import disk

from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder
from singan_tf.training.loop import Interrupted

pytestmark = pytest.mark.usefixtures("deterministic")

ONE_SCALE = {"num_scales": 1, "min_size": 24, "max_size": 30, "steps": 2}
WAYS = {
    "critic": {},
    "critic, crops": {"crop_size": 16, "previous_pool": 2},
    "sliced, crops": {
        "adversary": "critic+sliced_wasserstein",
        "crop_size": 16,
        "patch_count": 30,
    },
    "frechet": {"adversary": "frechet"},
    "sliced": {"adversary": "sliced_wasserstein"},
    "aligned": {"adversary": "aligned_nearest_neighbor", "patch_size": 5},
    "nearest, crops": {"adversary": "nearest_neighbor", "crop_size": 16},
}
QUICK = ("critic, crops", "frechet")
INSIDE = disk(24, 30, 12, 13, 11)


def elsewhere(photograph, inside, seed):
    """The photograph with other colours outside."""
    other = np.random.default_rng(seed).uniform(-1, 1, photograph.shape)
    return np.where(inside[:, :, np.newaxis], photograph, other).astype(np.float32)


@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=[] if way in QUICK else pytest.mark.slow) for way in WAYS],
)
def test_what_is_outside_changes_no_bit_of_a_step(coffee, tmp_path, way):
    """Without it being filled: batch norm, losses, penalty and crops see none of it."""
    settings = {**ONE_SCALE, **WAYS[way]}
    for seed in (0, 1):
        photograph = elsewhere(coffee, INSIDE, seed)
        folder = tmp_path / str(seed)
        train(photograph, folder, inside=INSIDE, filled=False, **settings)
    assert_same_run(tmp_path / "0", tmp_path / "1")
    train(coffee, tmp_path / "all", **settings)
    first, second = (stored(tmp_path / name)[0, "losses"] for name in ("0", "all"))
    assert first != second


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_mask_of_all_is_no_mask(coffee, tmp_path, way):
    """But for rounding, and for crops, which are drawn otherwise."""
    settings = {**ONE_SCALE, **WAYS[way], "crop_size": 0, "patch_count": 0}
    train(coffee, tmp_path / "none", **settings)
    train(coffee, tmp_path / "all", inside=np.ones([24, 30], bool), **settings)
    found, expected = (
        np.loadtxt(tmp_path / run / "scales/00/losses.csv", delimiter=",", skiprows=1)
        for run in ("all", "none")
    )
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)


@pytest.mark.slow
def test_a_masked_run_stops_and_goes_on_and_is_loaded(coffee, tmp_path):
    settings = {"patch_scales": 1, "patch_votes": True, "patches_compete": True}
    settings.update(keep_best=2, crop_size=16)
    asked = iter([False, False, True])
    with pytest.raises(Interrupted):
        train(coffee, tmp_path / "cut", lambda: next(asked), inside=INSIDE, **settings)
    trained = train(coffee, tmp_path / "cut", inside=INSIDE, **settings)
    train(coffee, tmp_path / "whole", inside=INSIDE, **settings)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    loaded, _ = loading.load(RunFolder(tmp_path / "cut"))
    np.testing.assert_array_equal(loaded.sample([7]), trained.sample([7]))
    # The photograph, filled, is what is restored of patches.
    insides = RunFolder(tmp_path / "cut").read_insides(2)
    assert [inside.shape for inside in insides] == loaded.sizes
