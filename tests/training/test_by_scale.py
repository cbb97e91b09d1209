"""What is given by scale counts at its scale, to the last bit."""

import json
import logging
import shutil
import sys

import numpy as np
import pytest
from run_folders import TINY, assert_same_run, stored, train

from singan_tf import config
from singan_tf.runs import pace
from singan_tf.runs.folder import RunFolder
from singan_tf.training.loop import Interrupted

# At scale 0, and above.
COARSE = {
    "steps": 4,
    "critic_updates": 2,
    "generator_updates": 1,
    "crop_size": 0,
    "critic_learning_rate": 0.002,
    "generator_learning_rate": 0.0001,
}
FINE = {
    "steps": 2,
    "critic_updates": 1,
    "generator_updates": 3,
    "crop_size": 16,
    "critic_learning_rate": 0.0003,
    "generator_learning_rate": 0.001,
}
BY_SCALE = {name: f"0:{COARSE[name]},1-:{FINE[name]}" for name in COARSE}
# The rates follow the number of steps, and a pool is there with crops and without.
REST = {"learning_rate_schedule": "cosine", "previous_pool": 2}


def stop_after(steps):
    left = iter([False] * (steps - 1))
    return lambda: next(left, True)


def rewrite(run_dir, **settings):
    """Changes the settings in a run's folder."""
    data = json.loads((run_dir / "config.json").read_text())
    data["config"]["training"].update(settings)
    (run_dir / "config.json").write_text(json.dumps(data))


@pytest.fixture(scope="module")
def both(deterministic, coffee, tmp_path_factory):
    """The folder of a run by scale."""
    folder = tmp_path_factory.mktemp("by_scale") / "run"
    train(coffee, folder, **REST, **BY_SCALE)
    return folder


def assert_same_scale(first, second, scale):
    first, second = (
        {key: value for key, value in stored(folder).items() if key[0] == scale}
        for folder in (first, second)
    )
    assert first.keys() == second.keys() and (scale, "losses") in first
    for key, value in first.items():
        np.testing.assert_array_equal(value, second[key], err_msg=str(key))


@pytest.mark.slow
def test_the_coarse_scale_is_that_of_a_run_with_its_numbers(coffee, both, tmp_path):
    with pytest.raises(Interrupted):
        train(coffee, tmp_path, stop_after(5), **REST, **COARSE)
    assert RunFolder(tmp_path).state(0).finished
    assert RunFolder(both).state(0).step == 4
    assert_same_scale(both, tmp_path, 0)


@pytest.mark.slow
def test_the_fine_scale_is_that_of_a_run_with_its_numbers_from_there(
    coffee, both, tmp_path
):
    folder = shutil.copytree(both, tmp_path / "run")
    shutil.rmtree(folder / "scales" / "01")
    rewrite(folder, **FINE)
    train(coffee, folder, **REST, **FINE)
    assert RunFolder(both).state(1).step == 2
    assert_same_scale(both, folder, 1)


@pytest.mark.slow
def test_a_run_by_scale_goes_on_exactly_and_tells_the_steps_of_its_scales(
    coffee, both, tmp_path, caplog, monkeypatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    folder = shutil.copytree(both, tmp_path / "run")
    shutil.rmtree(folder / "scales" / "01")
    with pytest.raises(Interrupted):
        train(coffee, folder, stop_after(1), **REST, **BY_SCALE)
    with caplog.at_level(logging.INFO, "singan_tf"):
        # In another form the settings are the same.
        again = {**BY_SCALE, "steps": "1-5:2, 0-0:4, 6-:2"}
        train(coffee, folder, **REST, **again)
    assert_same_run(both, folder)
    lines = [record.message for record in caplog.records]
    assert any("step 1 of 2" in line for line in lines)
    assert any("scale 1 step 2/2" in line and "0:00:00 left" in line for line in lines)


def test_the_share_done_and_the_hours_left_are_those_of_the_steps_by_scale(
    coffee, both, tmp_path, monkeypatch
):
    folder = shutil.copytree(both, tmp_path / "run")
    shutil.rmtree(folder / "scales" / "01")
    rewrite(folder, steps=4)
    # Scale 1 takes so many times as long as scale 0, of as many steps.
    times = 1 / pace.share_done(RunFolder(folder)) - 1
    rewrite(folder, steps="0:4,1-:2")
    assert pace.share_done(RunFolder(folder)) == pytest.approx(4 / (4 + 2 * times))

    monkeypatch.setattr(pace, "_convolution_pace", lambda: 1e9)
    sizes = [(16, 20), (24, 30)]
    found, coarse, fine = (
        config.from_settings({**TINY, **each}) for each in (BY_SCALE, COARSE, FINE)
    )
    above = pace.hours_left(fine, sizes, None) - pace.hours_left(fine, sizes[:1], None)
    expected = pace.hours_left(coarse, sizes[:1], None) + above
    assert pace.hours_left(found, sizes, None) == pytest.approx(expected)
