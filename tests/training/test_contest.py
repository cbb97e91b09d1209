"""Which weights a scale keeps, and when patches make it after all."""

import logging
import re

import numpy as np
import pytest
import tensorflow as tf
from run_folders import TINY, assert_same_run, graphs_as_built, train, weights

from singan_tf import config, images
from singan_tf.measure import likeness
from singan_tf.model.patch_stage import PatchStage
from singan_tf.model.singan import bring_up
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder
from singan_tf.training import distribution, draws, layouts
from singan_tf.training.judge import Judge
from singan_tf.training.session import Interrupted

# So few steps that each makes a difference.
RATES = {"critic_learning_rate": 0.01, "generator_learning_rate": 0.01}
RATES["learning_rate_schedule"] = "constant"
SEEDS = draws.pool_seeds(0, 8)


def photograph_of(run_dir, scale):
    """As the run keeps it, but for the rounding of its picture."""
    return images.read(RunFolder(run_dir).real(scale), 3)


def distance(singan, real, stage=None):
    """How far eight samples of the finest scale are from the photograph."""
    last = len(singan.stages) - 1
    below = singan.coarsest(last)
    grown = below.with_stage(stage or singan.stages[last])
    samples = [
        grown.draw(last, below.sample(SEEDS[i : i + 1]), SEEDS[i : i + 1]).numpy()
        for i in range(8)
    ]
    return likeness.distance(samples, real)


@pytest.mark.slow
def test_the_weights_that_measure_best_are_kept(coffee, tmp_path):
    # So large a rate that the second step makes much worse of what the first left.
    settings = {**RATES, "generator_learning_rate": 0.1, "patch_scales": 1, "seed": 1}
    kept = train(coffee, tmp_path / "kept", keep_best=1, steps=2, **settings)
    # The same run, ended after each of its steps.
    first, second = (
        train(coffee, tmp_path / str(steps), steps=steps, **settings)
        for steps in (1, 2)
    )
    real = photograph_of(tmp_path / "kept", 1)
    assert distance(kept, real) == distance(first, real) < distance(second, real)
    for found, expected in zip(weights(kept, 1), weights(first, 1)):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_of_measurements_apart_only_those_count(coffee, tmp_path):
    settings = {**RATES, "steps": "0:1,1-:5"}
    kept = train(coffee, tmp_path / "kept", keep_best=3, **settings)
    ended = [
        train(coffee, tmp_path / str(steps), **{**settings, "steps": f"0:1,1-:{steps}"})
        for steps in (3, 5)
    ]
    real = photograph_of(tmp_path / "kept", 1)
    assert distance(kept, real) == min(distance(singan, real) for singan in ended)


@pytest.mark.slow
def test_what_is_measured_are_averages_where_they_are_kept(coffee, tmp_path):
    settings = {**RATES, "moving_average": 0.5}
    kept = train(
        coffee, tmp_path / "kept", keep_best=2, **{**settings, "steps": "0:1,1-:4"}
    )
    ended = [
        train(coffee, tmp_path / str(steps), **{**settings, "steps": f"0:1,1-:{steps}"})
        for steps in (2, 4)
    ]
    real = photograph_of(tmp_path / "kept", 1)
    assert distance(kept, real) == min(distance(singan, real) for singan in ended)


@pytest.mark.parametrize(
    ("votes", "rate"),
    [
        (True, 1.0),
        pytest.param(False, 1.0, marks=pytest.mark.slow),
        pytest.param(True, 0.0001, marks=pytest.mark.slow),
    ],
)
def test_the_nearer_of_generator_and_patches_stays(
    coffee, tmp_path, caplog, votes, rate
):
    caplog.set_level(logging.INFO)
    settings = {"patches_compete": True, "patch_votes": votes, "steps": "0:4,1-:2"}
    settings["generator_learning_rate"] = rate
    singan = train(coffee, tmp_path / "run", **settings)
    alone = {**settings, "patches_compete": False}
    trained = train(coffee, tmp_path / "trained", **alone)

    # The stage of patches, made here once more.
    real = tf.constant(photograph_of(tmp_path / "run", 1))
    patches = PatchStage(
        singan.sizes[1], 3, 5, 0.0, coarsest=False, wrap=False, votes=votes
    )
    below = trained.coarsest(1).reconstruct()
    distances = []
    # As the run measured: rewritten graphs round otherwise, and choose other patches.
    with graphs_as_built():
        patches.remember(real, bring_up(below, singan.sizes[1]))
        for trust in (0.6, 0.8, 0.9, 0.97) if votes else (None,):
            if votes:
                patches.trust.assign(trust)
            distances.append(distance(trained, real.numpy(), patches))
        generator = distance(trained, real.numpy())
    # The run's photograph is not rounded to levels.
    won = min(distances) < generator
    assert abs(min(distances) - generator) > 0.01
    assert isinstance(singan.stages[1], PatchStage) == won
    assert singan.stages[1].trained != won
    if rate == 1.0:
        assert won
    if won and votes:
        chosen = np.float32([0.6, 0.8, 0.9, 0.97]) == singan.stages[1].trust.numpy()
        assert np.array(distances)[chosen] == pytest.approx(min(distances), abs=0.01)
    (told,) = (each for each in caplog.messages if "the nearer stay" in each)
    found = [float(each) for each in re.findall(r"\d\.\d{3}", told)]
    assert found == pytest.approx([generator, min(distances)], abs=0.01)

    loaded, _ = loading.load(RunFolder(tmp_path / "run"))
    np.testing.assert_array_equal(loaded.sample([7]), singan.sample([7]))
    assert RunFolder(tmp_path / "run").state(1).patches == won


def test_patches_that_win_vote_as_the_chief_of_a_cluster_found(
    coffee, tmp_path, monkeypatch
):
    """In place of a chief that measures otherwise, one that always says the next."""
    trusts, mine = (0.6, 0.8, 0.9, 0.97), []

    def from_chief(strategy, values):
        if len(values) > 1 or values[0] >= len(trusts):
            return tuple(values)
        mine.append(values[0])
        return ((values[0] + 1) % len(trusts),)

    monkeypatch.setattr(distribution, "from_chief", from_chief)
    settings = {"patches_compete": True, "patch_votes": True, "steps": "0:4,1-:2"}
    singan = train(coffee, tmp_path, generator_learning_rate=1.0, **settings)
    (found,) = mine
    expected = np.float32(trusts[(found + 1) % len(trusts)])
    assert singan.stages[1].trust.numpy() == expected


@pytest.mark.parametrize(("stop", "rate"), [(1, 1.0), (5, 0.0001), (8, 1.0)])
@pytest.mark.slow
def test_a_contest_is_gone_on_with_exactly(coffee, tmp_path, stop, rate):
    settings = {"patches_compete": True, "keep_best": 2, "steps": 4, **RATES}
    settings["generator_learning_rate"] = rate
    whole = train(coffee, tmp_path / "whole", **settings)
    stops = iter([False] * (stop - 1) + [True])
    with pytest.raises(Interrupted):
        train(coffee, tmp_path / "cut", lambda: next(stops), **settings)
    cut = train(coffee, tmp_path / "cut", **settings)
    assert_same_run(tmp_path / "whole", tmp_path / "cut")
    np.testing.assert_array_equal(cut.sample([7]), whole.sample([7]))
    # And once more, with nothing to do.
    again = train(coffee, tmp_path / "cut", **settings)
    np.testing.assert_array_equal(again.sample([7]), whole.sample([7]))


# One step at such a rate makes noise of what patches made below: five times as far from
# the photograph.
RUINED = {"patch_scales": 1, "steps": 1, "generator_learning_rate": 1.0}


def test_a_scale_that_makes_samples_worse_says_so(coffee, tmp_path, caplog):
    train(coffee, tmp_path / "run", keep_best=1, **RUINED)
    (told,) = (each for each in caplog.messages if "samples worse" in each)
    assert told.startswith("Scale 1 made samples worse: ")
    # In one sentence.
    assert told.count(". ") == 0 and told.endswith(".")


def test_without_candidates_nothing_is_measured(coffee, tmp_path, caplog):
    train(coffee, tmp_path / "run", **RUINED)
    assert not [each for each in caplog.messages if "worse" in each]


@pytest.mark.slow
def test_a_judge_needs_no_pool_of_its_own_size(coffee, tmp_path):
    singan = train(coffee, tmp_path / "run", previous_pool=2)
    real = tf.constant(photograph_of(tmp_path / "run", 1))
    settings = config.from_settings({**TINY, "previous_pool": 2}).training
    below = singan.coarsest(1)
    seeds = draws.pool_seeds(0, 2)
    pool = tf.concat([below.sample(seeds[i : i + 1]) for i in (0, 1)], axis=0)
    found = Judge(below, [real], [pool], settings).distance(singan.stages[1])
    assert found == Judge(below, [real], [None], settings).distance(singan.stages[1])
    samples = [
        singan.draw(1, pool[i : i + 1], seeds[i : i + 1]).numpy() for i in (0, 1)
    ]
    assert found == likeness.distance(samples, real.numpy())


@pytest.mark.slow
def test_votes_are_set_where_samples_are_nearest(coffee, tmp_path, caplog):
    singan = train(coffee, tmp_path / "run", patch_scales=2, patch_votes=True)
    real = tf.constant(photograph_of(tmp_path / "run", 1))
    settings = config.from_settings(TINY).training
    judge = Judge(singan.coarsest(1), [real], [None], settings)
    caplog.clear()
    with caplog.at_level(logging.INFO):
        least = layouts.set_trust(singan.stages[1], judge)
    # Large photographs take minutes here, and nobody waits in silence.
    said = [text.rpartition(", ")[2] for text in caplog.messages]
    assert said == ["1 of 4.", "2 of 4.", "3 of 4.", "4 of 4."]
    chosen = float(singan.stages[1].trust.numpy())
    assert least == judge.distance(singan.stages[1])
    for trust in (0.6, 0.8, 0.9, 0.97):
        singan.stages[1].trust.assign(trust)
        assert judge.distance(singan.stages[1]) >= least
    assert chosen in np.float32([0.6, 0.8, 0.9, 0.97])
