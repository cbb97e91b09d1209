import numpy as np
import pytest
import tensorflow as tf
from shapes import disk

from singan_tf import config
from singan_tf.inside import fill
from singan_tf.model import patch_matching, patch_places, patch_voting, stages


def brute_nearest(allowed):
    """The squared distance to the nearest allowed corner, for each corner."""
    places = np.argwhere(allowed)
    grid = np.stack(np.mgrid[: allowed.shape[0], : allowed.shape[1]], axis=-1)
    return ((grid[:, :, np.newaxis] - places) ** 2).sum(axis=-1).min(axis=-1)


def test_tables_lead_to_the_nearest_patch_that_lies_inside():
    inside = disk(30, 37, 12, 20, 8)
    (table,) = patch_places.tables([inside], 1)
    assert [table.size] == patch_places.counts([inside.shape], 1) == [24 * 31]
    allowed = np.array(
        [[inside[y : y + 7, x : x + 7].all() for x in range(31)] for y in range(24)]
    )
    rows, columns = np.divmod(table.reshape(24, 31), 31)
    assert allowed[rows, columns].all()
    grid = np.mgrid[:24, :31]
    found = (rows - grid[0]) ** 2 + (columns - grid[1]) ** 2
    np.testing.assert_array_equal(found, brute_nearest(allowed))
    numbers = patch_matching.allowed(tf.constant(table))
    np.testing.assert_array_equal(numbers, np.flatnonzero(allowed))


@pytest.mark.parametrize("top", [0, 31, 59])
def test_at_half_the_size_no_patch_is_lost(top):
    """The only patch that lies inside is led to from everywhere, at every size."""
    inside = np.zeros([66, 72], bool)
    inside[top : top + 7, 65:] = True
    tables = patch_places.tables([inside], 3)
    assert [table.size for table in tables] == patch_places.counts([(66, 72)], 3)
    assert [len(np.unique(table)) for table in tables] == [1, 1, 1]
    with pytest.raises(ValueError, match="no patch"):
        patch_places.tables([inside, np.zeros([9, 9], bool)], 1)


def test_tables_of_several_photographs_follow_each_other():
    insides = [disk(30, 37, 12, 20, 8), disk(41, 28, 20, 14, 12)]
    joint = patch_places.tables(insides, 2)
    start = np.zeros(2, int)
    for inside in insides:
        for number, table in enumerate(patch_places.tables([inside], 2)):
            begin = start[number]
            found = joint[number][begin : begin + table.size]
            np.testing.assert_array_equal(found, begin + table)
            start[number] += table.size
    assert start.tolist() == [table.size for table in joint]


def coloured(inside, seed=0):
    """Green and blue inside, and fully red outside, float32 [1, H, W, 3]."""
    rng = np.random.default_rng(seed)
    image = rng.uniform(-1, 1, (1, *inside.shape, 3)).astype(np.float32)
    image[..., 0] = np.where(inside, -1, 1)
    return image


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("way", [patch_matching, patch_voting])
def test_no_pixel_from_outside_is_in_what_is_put_together(monkeypatch, way, stride):
    inside = disk(44, 51, 20, 30, 13)
    photograph = tf.constant(coloured(inside))
    if way is patch_voting:
        monkeypatch.setattr(patch_voting, "_MOST_PATCHES", 400)
    count = patch_voting.num_sizes((44, 51)) if way is patch_voting else 1
    assert count == (2 if way is patch_voting else 1)
    query = tf.constant(coloured(inside, seed=1))
    tables = [tf.constant(table) for table in patch_places.tables([inside], count)]
    made = way.rearrange(
        query, photograph, photograph, 2, stride=stride, nearest=tables
    )
    assert float(tf.reduce_max(made[..., 0])) < -1 + 1e-5
    without = way.rearrange(query, photograph, photograph, 2, stride=stride)
    assert float(tf.reduce_max(without[..., 0])) > 0


@pytest.mark.parametrize("votes", [False, True])
def test_of_several_photographs_each_has_an_inside(monkeypatch, votes):
    """One of them is green and blue all over, and may be used as a whole."""
    if votes:
        monkeypatch.setattr(patch_voting, "_MOST_PATCHES", 800)
    settings = config.from_settings({"patch_scales": 1, "patch_votes": votes})
    insides = [disk(44, 51, 20, 30, 13), None, disk(48, 40, 20, 20, 12)]
    parts = [np.ones([33, 47], bool) if x is None else x for x in insides]
    sizes = [part.shape for part in parts]
    stage = stages.build_stage(settings, 0, *sizes, masked=True)
    assert len(stage.nearest) == (2 if votes else 1)
    for number, part in enumerate(parts):
        image = coloured(part, seed=number)
        stage.remember(image, image, number)
    stage.restrict(insides)
    noise_map = stage.noise(tf.range(6, dtype=tf.int64), 0, 44, 51)
    made = stage(noise_map, tf.zeros([6, 44, 51, 3]))
    assert float(tf.reduce_max(made[..., 0])) < -1 + 1e-5


@pytest.mark.parametrize("votes", [False, True])
def test_what_is_outside_of_a_full_table_changes_nothing(votes):
    """A table of all patches gives the bits of none."""
    inside = np.ones([24, 30], bool)
    photograph, query = coloured(inside), coloured(inside, seed=1)
    way = patch_voting if votes else patch_matching
    tables = [tf.constant(table) for table in patch_places.tables([inside], 1)]
    found, expected = (
        way.rearrange(query, photograph, photograph, 2, nearest=nearest)
        for nearest in (tables, ())
    )
    np.testing.assert_array_equal(found, expected)


def test_a_masked_stage_keeps_its_tables():
    settings = config.from_settings({"patch_scales": 1, "patch_votes": True})
    inside = disk(24, 30, 11, 15, 9)
    stage, loaded = (
        stages.build_stage(settings, 0, inside.shape, masked=True) for _ in range(2)
    )
    image = fill(coloured(inside), inside)
    stage.remember(image, image)
    stage.restrict([inside])
    assert [v.dtype for v in stage.nearest] == [tf.int64]
    for ours, theirs in zip(loaded.variables, stage.variables):
        ours.assign(theirs)
    noise_map = stage.noise(tf.constant([3], tf.int64), 0, 24, 30)
    previous = tf.zeros([1, 24, 30, 3])
    made = stage(noise_map, previous)
    np.testing.assert_array_equal(made, loaded(noise_map, previous))
    assert float(tf.reduce_max(made[..., 0])) < -1 + 1e-5
    assert not stages.build_stage(settings, 0, inside.shape).nearest
