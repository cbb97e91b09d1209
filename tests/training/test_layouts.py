import numpy as np
import pytest
import tensorflow as tf
from run_folders import assert_same_run, measured, train

from singan_tf.model.resize import resize
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder
from singan_tf.training.loop import Interrupted

pytestmark = pytest.mark.usefixtures("deterministic")


@pytest.mark.slow
@pytest.mark.parametrize("asked", [0.3, 0.6])
def test_layouts_of_patches_differ_as_much_as_is_asked_for(asked, tmp_path):
    noisy = np.random.default_rng(0).uniform(-1, 1, (1, 12, 14, 3))
    image = np.clip(resize(tf.constant(noisy, tf.float32), 48, 56).numpy(), -1, 1)
    made = train(
        image, tmp_path, patch_scales=2, layout_shift=0.0, layout_diversity=asked
    )
    grey = made.coarsest(1).sample(range(1000, 1040)).numpy().mean(axis=-1)
    photograph = made.reconstructions(1)[0].numpy().mean(axis=-1)
    found = grey.std(axis=0).mean() / photograph.std()
    # Some layouts were looked at, and these are others.
    assert abs(found - asked) < 0.15
    loaded, _ = loading.load(RunFolder(tmp_path))
    amplitude = loaded.stages[0].noise_amplitude.numpy()
    assert amplitude == made.stages[0].noise_amplitude.numpy() > 0


@pytest.mark.slow
def test_layouts_move_as_far_as_either_setting_asks(coffee, tmp_path):
    def shift(least, diversity):
        folder = tmp_path / f"{least}_{diversity}"
        settings = {"layout_shift": least, "layout_diversity": diversity}
        made = train(coffee, folder, patch_scales=1, **settings)
        return made.stages[0].noise_amplitude.numpy()

    found = shift(0.0, 0.3)
    assert 0.01 < found < 0.4
    assert shift(0.01, 0.3) == found
    for diversity in (0.0, 0.3):
        assert shift(0.4, diversity) == np.float32(0.4)


def test_layouts_of_one_colour_need_no_noise(tmp_path):
    image = np.full([1, 40, 40, 3], 0.25, np.float32)
    made = train(image, tmp_path, patch_scales=2)
    np.testing.assert_allclose(made.sample([3]), 0.25, atol=1e-5)


def test_a_run_of_patches_alone_stops_and_goes_on(coffee, tmp_path):
    stop = {"patch_scales": 2, "patch_iterations": 1}
    with pytest.raises(Interrupted):
        train(coffee, tmp_path / "cut", lambda: True, **stop)
    assert RunFolder(tmp_path / "cut").state(0).finished
    assert RunFolder(tmp_path / "cut").state(1) is None
    trained = train(coffee, tmp_path / "cut", **stop)
    train(coffee, tmp_path / "whole", **stop)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    assert RunFolder(tmp_path / "cut").is_finished(2)
    assert measured(tmp_path / "cut", 1)[1].startswith("0,")
    loaded, _ = loading.load(RunFolder(tmp_path / "cut"))
    np.testing.assert_array_equal(loaded.sample([7]), trained.sample([7]))
