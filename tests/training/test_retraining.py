import numpy as np
import pytest
from run_folders import stored, train

from singan_tf import images
from singan_tf.runs import loading
from singan_tf.runs.display import Monitor
from singan_tf.runs.folder import RunFolder
from singan_tf.training import distribution, retraining
from singan_tf.training.loop import Run

pytestmark = pytest.mark.usefixtures("deterministic")


def retrain(run_dir, folder, palette=None, entering=None):
    """Trains again, at scale 1 or from there on; the pyramid before and after."""
    singan, settings = loading.load(RunFolder(run_dir))
    strategy = distribution.make_strategy("one_device")
    watch = Monitor(settings, singan.sizes, RunFolder(folder))
    run = Run(settings, strategy, RunFolder(folder), watch, lambda: False)
    try:
        if entering is None:
            return singan, retraining.retrain_scale(
                run, singan, RunFolder(run_dir), 1, palette
            )
        return singan, retraining.retrain_on_images(
            run, singan, RunFolder(run_dir), 1, entering
        )
    finally:
        watch.close()


KINDS = [
    {},
    {"crop_size": 16, "previous_pool": 2},
    {"adversary": "0:frechet,1-:critic"},
]


@pytest.mark.slow
@pytest.mark.parametrize("crops", KINDS[1:], ids=str)
def test_a_scale_is_trained_again_beside_the_run(coffee, tmp_path, crops):
    run_dir, folder = tmp_path / "run", tmp_path / "again"
    train(coffee, run_dir, **crops)
    before = stored(run_dir)
    palette = np.array([[-1, -1, -1], [0, 0.5, 0], [1, 1, 1]], np.float32)
    singan, retrained = retrain(run_dir, folder, palette)
    assert retrained.stages[0] is singan.stages[0]
    assert retrained.stages[1] is not singan.stages[1]
    np.testing.assert_array_equal(retrained.stages[1].palette, palette)
    after = stored(run_dir)
    assert after.keys() == before.keys()
    for key, value in after.items():
        np.testing.assert_array_equal(value, before[key])
    assert [path.name for path in (folder / "scales").iterdir()] == ["01"]
    assert RunFolder(folder).state(1).finished


@pytest.mark.slow
def test_a_scale_trained_again_with_every_colour_is_the_same(coffee, tmp_path):
    """The palette is all that differs, up to the 8 bits of the run's pictures."""
    eight_bits = images.to_uint8(coffee) / 127.5 - 1
    settings = {
        # Large enough for the photograph to stay as it is.
        "max_size": 30,
        # A bias before it has no gradient but rounding, which Adam blows up.
        "generator_normalization": "none",
        "critic_normalization": "none",
    }
    train(eight_bits.astype(np.float32), tmp_path / "run", **settings)
    singan, retrained = retrain(tmp_path / "run", tmp_path / "again")
    for ours, theirs in zip(retrained.stages[1].variables, singan.stages[1].variables):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_scales_are_trained_again_on_images_beside_the_run(coffee, tmp_path, kind):
    run_dir, folder = tmp_path / "run", tmp_path / "again"
    train(coffee, run_dir, **kind)
    before = stored(run_dir)
    entering = np.random.default_rng(3).uniform(-1, 1, [2, 30, 40, 3])
    entering = entering.astype(np.float32)
    singan, retrained = retrain(run_dir, folder, entering=entering)
    count = len(singan.sizes)
    assert len(retrained.stages) == count > 1
    after = stored(run_dir)
    assert after.keys() == before.keys()
    for key, value in after.items():
        np.testing.assert_array_equal(value, before[key])
    trained = sorted(path.name for path in (folder / "scales").iterdir())
    assert trained == [f"{scale:02d}" for scale in range(1, count)]
    # Only where images enter are they not part of the output.
    first, second = np.random.default_rng(4).normal(size=[2, 1, 20, 20, 3])
    first, second = first.astype(np.float32), second.astype(np.float32)
    inner = (second - first)[:, 5:-5, 5:-5]
    for scale in range(1, count):
        generator = retrained.stages[scale].generator
        added = generator((first, second)) - generator((first, first))
        np.testing.assert_allclose(added, 0 if scale == 1 else inner, atol=1e-5)
    # Given again, it is all there.
    again = retrain(run_dir, folder, entering=entering)[1]
    np.testing.assert_array_equal(again.reconstruct(), retrained.reconstruct())
