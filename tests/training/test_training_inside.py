"""What is outside of a mask does not exist: it changes no bit of a run."""

import numpy as np
import pytest
from run_folders import assert_same_run, assert_two_devices_do_as_one, stored, train
from shapes import disk

from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder
from singan_tf.training import draws
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
    "aligned": {"adversary": "aligned_nearest_neighbor", "patch_size": 5},
    "nearest, crops": {"adversary": "nearest_neighbor", "crop_size": 16},
    "bfloat16": {"mixed_precision": "bfloat16"},
}
QUICK = ("critic, crops", "frechet")
INSIDE = disk(24, 30, 12, 13, 11)
# With room for a critic at a coarser scale.
MOST = np.arange(30)[np.newaxis].repeat(24, axis=0) < 23


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
@pytest.mark.parametrize(
    "way", ["critic", "sliced, crops", "frechet", "aligned", "nearest, crops"]
)
def test_a_mask_of_all_is_no_mask(coffee, tmp_path, way):
    """But for rounding, and for crops, which are drawn otherwise."""
    settings = {**ONE_SCALE, **WAYS[way], "crop_size": 0, "patch_count": 0}
    settings["mixed_precision"] = "none"
    train(coffee, tmp_path / "none", **settings)
    train(coffee, tmp_path / "all", inside=np.ones([24, 30], bool), **settings)
    found, expected = (
        np.loadtxt(tmp_path / run / "scales/00/losses.csv", delimiter=",", skiprows=1)
        for run in ("all", "none")
    )
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-5)


def both(coffee):
    """Two photographs of different sizes, and what is inside of each."""
    turned = coffee[:, ::-1, :27]
    return [coffee, turned], [INSIDE, disk(24, 27, 11, 14, 10)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "masked"),
    [
        ("critic, crops", (1,)),
        ("sliced, crops", (0, 1)),
        ("frechet", (0, 1)),
        ("aligned", (0, 1)),
    ],
    ids=str,
)
def test_of_several_photographs_each_has_an_outside(coffee, tmp_path, way, masked):
    """Steps of either, which see the other, too, where it is a distance."""
    assert {draws.photograph_of(3, 0, step, 2) for step in range(4)} == {0, 1}
    photographs, insides = both(coffee)
    insides = [each if n in masked else None for n, each in enumerate(insides)]
    for seed in (0, 1):
        given = [
            each if inside is None else elsewhere(each, inside, seed)
            for each, inside in zip(photographs, insides)
        ]
        settings = {**ONE_SCALE, **WAYS[way], "steps": 4, "seed": 3}
        folder = tmp_path / str(seed)
        train(given, folder, inside=insides, filled=False, **settings)
    assert_same_run(tmp_path / "0", tmp_path / "1")


@pytest.mark.slow
def test_a_masked_run_of_several_stops_and_goes_on_and_is_loaded(coffee, tmp_path):
    settings = {"patch_scales": 1, "patch_votes": True, "patches_compete": True}
    settings.update(keep_best=2, crop_size=16)
    photographs, insides = both(coffee)
    insides = [None, insides[1]]
    asked = iter([False, False, True])
    with pytest.raises(Interrupted):
        train(
            photographs,
            tmp_path / "cut",
            lambda: next(asked),
            inside=insides,
            **settings,
        )
    trained = train(photographs, tmp_path / "cut", inside=insides, **settings)
    train(photographs, tmp_path / "whole", inside=insides, **settings)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    loaded, _ = loading.load(RunFolder(tmp_path / "cut"))
    np.testing.assert_array_equal(loaded.sample([7]), trained.sample([7]))
    first, second = RunFolder(tmp_path / "cut").read_insides(2)
    assert first is None
    assert [inside.shape for inside in second] == loaded.of(1).sizes


@pytest.mark.slow
def test_a_masked_run_goes_on_after_its_end_as_from_the_start(coffee, tmp_path):
    settings = {"crop_size": 16, "adversary": "critic+sliced_wasserstein"}
    train(coffee, tmp_path / "pieces", inside=MOST, **settings)
    train(coffee, tmp_path / "pieces", more=3, inside=MOST, **settings)
    train(coffee, tmp_path / "whole", more=3, inside=MOST, **settings)
    assert_same_run(tmp_path / "whole", tmp_path / "pieces")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["critic", "aligned"])
def test_xla_computes_the_same_but_for_its_other_noise(coffee, tmp_path, way):
    settings = {**ONE_SCALE, **WAYS[way], "steps": 1, "width": 2, "previous_pool": 2}
    for run, xla in (("plain", False), ("xla", True)):
        train(coffee, tmp_path / run, inside=INSIDE, xla=xla, **settings)
    found, expected = (
        np.loadtxt(tmp_path / run / "scales/00/losses.csv", delimiter=",", skiprows=1)
        for run in ("xla", "plain")
    )
    if way == "critic":
        # The critic's score of the photograph has no noise in it.
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-4)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=0.3, atol=0.02)


@pytest.mark.slow
def test_two_devices_compute_what_one_does_with_the_same_batch(tmp_path):
    """Of two photographs, one masked. Logical devices need a fresh process."""
    given = """
        photographs = [coffee[:, 100:124, 200:230], coffee[:, 124:148, 200:230]]
        inside = [np.arange(30)[np.newaxis].repeat(24, axis=0) < 23, None]
    """
    assert_two_devices_do_as_one(tmp_path, WAYS["sliced, crops"], given)
