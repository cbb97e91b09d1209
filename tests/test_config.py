import dataclasses
import json
import math
import re
import subprocess
import sys

import pytest

from singan_tf import config
from singan_tf.errors import UsageError, UserError

# The defaults of tamarott/SinGAN; what it does not have is off.
REFERENCE = {
    "pyramid": {
        "min_size": 25,
        "max_size": 250,
        "scale_factor": 0.75,
        "num_scales": 0,
    },
    "layout": {
        "patch_scales": 0,
        "patch_iterations": 5,
        "patch_votes": False,
        "patches_compete": False,
        "layout_shift": 0.0,
        "layout_diversity": 0.5,
    },
    "network": {
        "channels": 3,
        "width": 32,
        "max_width": 128,
        "width_doubling": 4,
        "padding": "zeros",
        "generator_normalization": "batch",
        "critic_normalization": "batch",
        "residual": True,
        "critic_constraint": "gradient_penalty",
    },
    "training": {
        "steps": 2000,
        "critic_updates": 3,
        "generator_updates": 3,
        "global_batch_size": 0,
        "critic_learning_rate": 0.0005,
        "generator_learning_rate": 0.0005,
        "beta1": 0.5,
        "beta2": 0.999,
        "learning_rate_schedule": "step",
        "decay_at": 0.8,
        "decay_factor": 0.1,
        "schedule_steps": 0,
        "gradient_penalty_weight": 0.1,
        "reconstruction_weight": 10.0,
        "texture_weight": 0.0,
        "noise_amplitude_weight": 0.1,
        "reconstruction_noise": "redrawn",
        "adversary_gradient": "renewed",
        "crop_size": 0,
        "previous_pool": 0,
        "moving_average": 0.0,
        "keep_best": 0,
        "mixed_precision": "none",
        "xla": False,
        "seed": 0,
    },
    "adversary": {
        "adversary": "critic",
        "patch_weight": 1.0,
        "patch_size": 7,
        "patch_stride": 1,
        "patch_count": 4096,
        "patch_projections": 64,
        "patch_memory": 256,
        "patch_alignment": "covariance",
    },
}

# A value other than the default for every setting.
CHANGED = {
    "min_size": 18,
    "max_size": 300,
    "scale_factor": 0.6,
    "num_scales": 5,
    "patch_scales": 2,
    "patch_iterations": 3,
    "patch_votes": True,
    "patches_compete": True,
    "layout_shift": 0.2,
    "layout_diversity": 0.3,
    "channels": 1,
    "width": 16,
    "max_width": 64,
    "width_doubling": 0,
    "padding": "noise",
    "generator_normalization": "none",
    "critic_normalization": "instance",
    "residual": False,
    "critic_constraint": "spectral",
    "steps": 300,
    "critic_updates": 1,
    "generator_updates": 2,
    "global_batch_size": 4,
    "critic_learning_rate": 1e-3,
    "generator_learning_rate": 2e-3,
    "beta1": 0.0,
    "beta2": 0.9,
    "learning_rate_schedule": "cosine",
    "decay_at": 0.5,
    "decay_factor": 0.2,
    "schedule_steps": 200,
    "gradient_penalty_weight": 1.0,
    "reconstruction_weight": 100,
    "texture_weight": 0.1,
    "noise_amplitude_weight": 0.5,
    "reconstruction_noise": "fixed",
    "adversary_gradient": "reused",
    "crop_size": 64,
    "previous_pool": 8,
    "moving_average": 0.99,
    "keep_best": 100,
    "mixed_precision": "bfloat16",
    "seed": 7,
    "adversary": "0-1:critic,2-:frechet",
    "patch_weight": 0.5,
    "patch_size": 11,
    "patch_stride": 2,
    "patch_count": 0,
    "patch_projections": 16,
    "patch_memory": 64,
    "patch_alignment": "variance",
    "strategy": "mirrored",
    "xla": True,
    "checkpoint_seconds": 0.0,
    "log_steps": 1,
    "metric_steps": 0,
    "inception_weights": "stem.npz",
    "vgg_weights": "vgg.h5",
}

# Setting: just outside its range.
OUTSIDE = {
    "min_size": (7,),
    "max_size": (7,),
    "scale_factor": (0.0999, 0.951),
    "num_scales": (-1, 65),
    "patch_scales": (-2, 65),
    "patch_iterations": (0, 101),
    "layout_shift": (-0.1, 1.1),
    "layout_diversity": (-0.1, 1.1),
    "channels": (0, 2, 4),
    "width": (0, 1025),
    "max_width": (0, 1025),
    "width_doubling": (-1,),
    "padding": ("", "same", "Zeros"),
    "generator_normalization": ("layer",),
    "critic_normalization": ("layer",),
    "critic_constraint": ("clip",),
    "steps": (0,),
    "critic_updates": (0, 101),
    "generator_updates": (0, 101),
    "global_batch_size": (-1,),
    "critic_learning_rate": (-1e-9,),
    "generator_learning_rate": (-1e-9,),
    "beta1": (-0.1, 1),
    "beta2": (-0.1, 1),
    "learning_rate_schedule": ("linear",),
    "decay_at": (-0.1, 1.1),
    "decay_factor": (-0.1, 1.1),
    "schedule_steps": (-1,),
    "gradient_penalty_weight": (-0.1,),
    "reconstruction_weight": (-0.1,),
    "texture_weight": (-0.1,),
    "noise_amplitude_weight": (-0.1,),
    "reconstruction_noise": ("drawn",),
    "adversary_gradient": ("used",),
    "crop_size": (-1, 1, 15),
    "previous_pool": (-1, 1025),
    "moving_average": (-0.1, 1, 1.1),
    "keep_best": (-1,),
    "mixed_precision": ("float8",),
    "seed": (-1, 2**31),
    "adversary": ("", "discriminator", "critic,"),
    "patch_weight": (-0.1,),
    "patch_size": (0, 26),
    "patch_stride": (0,),
    "patch_count": (-1,),
    "patch_projections": (0,),
    "patch_memory": (0,),
    "patch_alignment": ("mean",),
    "strategy": ("tpu",),
    "checkpoint_seconds": (-1,),
    "log_steps": (0,),
    "metric_steps": (-1,),
}

# Setting: the ends of its range.
INSIDE = {
    "min_size": (8,),
    "max_size": (8,),
    "scale_factor": (0.1, 0.95),
    "num_scales": (0, 64),
    "channels": (1, 3),
    "width": (1, 128),
    "max_width": (32, 1024),
    "width_doubling": (0,),
    "steps": (1,),
    "critic_updates": (1, 100),
    "generator_updates": (1, 100),
    "critic_learning_rate": (0,),
    "generator_learning_rate": (0,),
    "beta1": (0, 0.9999),
    "beta2": (0, 0.999999),
    "decay_at": (0, 1),
    "decay_factor": (0, 1),
    "schedule_steps": (0, 1),
    "crop_size": (0, 16),
    "previous_pool": (0, 1024),
    "moving_average": (0, 0.9999),
    "keep_best": (0, 1),
    "seed": (0, 2**31 - 1),
    "patch_weight": (0,),
    "patch_size": (1, 25),
    "patch_stride": (1,),
    "patch_count": (0, 1),
    "patch_projections": (1,),
    "patch_memory": (1,),
    "checkpoint_seconds": (0,),
    "log_steps": (1,),
    "metric_steps": (0,),
}

BOOLEANS = {"patch_votes", "patches_compete", "residual", "xla"}
BY_SCALE = (
    "steps",
    "critic_updates",
    "generator_updates",
    "schedule_steps",
    "crop_size",
)
REAL_BY_SCALE = ("critic_learning_rate", "generator_learning_rate")
PATHS = {"inception_weights", "vgg_weights"}


def pairs(table):
    return [(name, value) for name, values in table.items() for value in values]


def refuse(values, *words):
    """The values must be refused with one sentence that has the words."""
    with pytest.raises(UsageError) as caught:
        config.from_settings(values)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(".")
    for word in words:
        assert word in message


def names(kind=None):
    return [f.name for f in config.settings() if kind in (None, f.type)]


def test_defaults_are_the_reference_recipe():
    stored = config.to_json(config.Config())
    del stored["runtime"]
    assert stored == REFERENCE


def test_every_setting_has_a_flat_name_of_its_own_and_a_meaning():
    fields = config.settings()
    assert len({field.name for field in fields}) == len(fields)
    assert all(field.metadata["help"].endswith(".") for field in fields)


def test_the_tables_of_this_file_name_every_setting():
    assert set(CHANGED) == set(names())
    assert set(OUTSIDE) | BOOLEANS | PATHS == set(names())


@pytest.mark.parametrize("values", [{}, CHANGED], ids=["defaults", "changed"])
def test_json_round_trip_keeps_every_setting(values):
    original = config.from_settings(values)
    text = json.dumps(config.to_json(original))
    assert config.from_json(json.loads(text)) == original


def test_from_settings_sets_every_setting():
    stored = config.to_json(config.from_settings(CHANGED))
    assert {k: v for part in stored.values() for k, v in part.items()} == CHANGED


def test_stored_configurations_may_lack_settings():
    stored = config.from_json({"training": {"steps": 7}})
    assert stored == config.from_settings({"steps": 7})


@pytest.mark.parametrize(
    "data", [[], None, 3, "steps", {"training": 3}, {"training": [1]}, {"a": None}]
)
def test_stored_data_of_another_shape_is_refused(data):
    with pytest.raises(UserError):
        config.from_json(data)


def test_stored_unknown_settings_are_refused():
    with pytest.raises(UserError, match="stepz"):
        config.from_json({"training": {"stepz": 3}})


@pytest.mark.parametrize("name, value", pairs(OUTSIDE))
def test_values_outside_the_range_are_refused_by_flag(name, value):
    refuse({name: value}, f"--{name}={value}")


@pytest.mark.parametrize("name, value", pairs(INSIDE))
def test_ends_of_the_range_are_taken(name, value):
    stored = config.to_json(config.from_settings({name: value}))
    assert value in [part[name] for part in stored.values() if name in part]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("name", names(float))
def test_floats_must_be_finite(name, value):
    refuse({name: value}, f"--{name}=")


@pytest.mark.parametrize("name", names(float))
def test_infinity_is_refused_for_a_reason_that_holds(name):
    with pytest.raises(UsageError) as caught:
        config.from_settings({name: math.inf})
    assert "finite" in str(caught.value) or "at most" in str(caught.value)


@pytest.mark.parametrize(
    "name, value",
    [(name, value) for name in names(int) for value in (1.0, "1", True, None, [1])]
    + [(name, value) for name in names(float) for value in ("1", True, None)]
    + [(name, value) for name in names(str) for value in (1, None, True, b"zeros")]
    + [(name, value) for name in names(bool) for value in (1, 0, "true", None)],
)
def test_values_of_another_type_are_refused_by_flag(name, value):
    kinds = {field.name: field.type for field in config.settings()}
    refuse({name: value}, f"--{name}=", kinds[name].__name__)


def check_by_scale(name, given, stored, expected):
    """What is given is stored in one form; scales have what is expected, in order."""
    found = config.from_settings({name: given})
    assert getattr(found.training, name) == stored
    assert found == config.from_settings({name: stored})
    assert config.from_json(json.loads(json.dumps(config.to_json(found)))) == found
    scales = range(len(expected))
    assert [getattr(found.training.at(scale), name) for scale in scales] == expected
    assert getattr(found.training.at(1000), name) == expected[-1]


@pytest.mark.parametrize("value", [1.0, True, None, [1], b"500"])
@pytest.mark.parametrize("name", BY_SCALE)
def test_what_is_given_by_scale_is_a_whole_number_or_a_text(name, value):
    refuse({name: value}, f"--{name}={value!r} must be a whole number, or a text")


@pytest.mark.parametrize(
    ("given", "stored", "expected"),
    [
        ("50", 50, [50] * 4),
        ("0-:50", 50, [50] * 4),
        ("0-1:50,2-:50", 50, [50] * 4),
        ("0-1:40,2-:30", "0-1:40,2-:30", [40, 40, 30, 30]),
        (" 1-:20, 0-0:40", "0:40,1-:20", [40, 20, 20, 20]),
        ("0:40,1:20,2:20,3-:90", "0:40,1-2:20,3-:90", [40, 20, 20, 90]),
    ],
)
@pytest.mark.parametrize("name", BY_SCALE)
def test_numbers_by_scale_have_one_form_and_reach_their_scales(
    name, given, stored, expected
):
    check_by_scale(name, given, stored, expected)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["''", "neither a number nor like"]),
        ("many", ["'many'", "neither a number nor like"]),
        ("1.5", ["must be a whole number"]),
        ("0-1:5e1,2-:60", ["has 50.0, which must be a whole number"]),
        ("0-3:critic,4-:50", ["'0-3:critic'", "neither"]),
        ("9" * 5000, ["neither"]),
        ("0-3:50", ["scale 4 to none", "4-:NUMBER"]),
        ("1-:50", ["scale 0 to none"]),
        ("0-1:50,3-:60", ["scale 2 to none"]),
        ("0-3:50,3-:60", ["scale 3 to two numbers"]),
        ("50,60", ["scale 0 to two numbers"]),
        ("3-2:50,0-:60", ["from 3 down to 2"]),
        ("0-1:50,2-:-1", ["has -1, which must be at least"]),
        (f"0:{2**31},1-:50", [f"has {2**31}, which must be", "at most"]),
    ],
)
@pytest.mark.parametrize("name", BY_SCALE)
def test_numbers_by_scale_with_gaps_or_strange_words_are_refused(name, text, words):
    refuse({name: text}, f"--{name}={text} ", *words)


@pytest.mark.parametrize(
    ("given", "stored", "expected"),
    [
        (1, 1.0, [1.0, 1.0, 1.0]),
        ("5e-4", 0.0005, [0.0005] * 3),
        ("0-1:0.0005,2-:.001", "0-1:0.0005,2-:0.001", [0.0005, 0.0005, 0.001]),
        ("1-:2,0:1e-5", "0:1e-05,1-:2.0", [1e-5, 2.0, 2.0]),
    ],
)
@pytest.mark.parametrize("name", REAL_BY_SCALE)
def test_rates_by_scale_have_one_form_and_reach_their_scales(
    name, given, stored, expected
):
    check_by_scale(name, given, stored, expected)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, ["must be a number, or a text"]),
        (True, ["must be a number, or a text"]),
        (math.nan, ["finite"]),
        (math.inf, ["finite"]),
        (10**400, ["finite"]),
        ("0:1,1-:1e999", ["has inf, which must be a finite number"]),
        ("0:1,1-:-0.1", ["has -0.1, which must be at least 0"]),
        ("fast", ["'fast'", "neither a number nor like"]),
        ("nan", ["'nan'", "neither a number nor like"]),
    ],
)
@pytest.mark.parametrize("name", REAL_BY_SCALE)
def test_rates_that_are_none_are_refused(name, value, words):
    refuse({name: value}, f"--{name}=", *words)


def test_every_number_by_scale_must_be_in_its_range():
    refuse({"steps": "0:5,1-:0"}, "--steps=0:5,1-:0 has 0", "at least 1")
    refuse({"critic_updates": "0:3,1-:101"}, "has 101", "at most 100")
    refuse({"crop_size": "0:0,1-:15"}, "--crop_size=0:0,1-:15", "at least 16")
    refuse({"patch_size": 17, "crop_size": "0:0,1-:16"}, "--crop_size=16")
    config.from_settings({"patch_size": 16, "crop_size": "0:0,1-:16"})


def test_width_above_its_cap_is_refused():
    refuse({"width": 65, "max_width": 64}, "--width=65", "--max_width=64")
    assert config.from_settings({"width": 64, "max_width": 64}).network.width == 64


@pytest.mark.parametrize(
    "text, expected",
    [
        ("critic", ["critic"] * 5),
        ("frechet", ["frechet"] * 5),
        ("0-:frechet", ["frechet"] * 5),
        ("0-2:critic,3-:frechet", ["critic"] * 3 + ["frechet"] * 2),
        ("0:frechet, 1-2:critic, 3-:frechet", ["frechet", "critic", "critic"]),
        ("2-:critic,0-1:nearest_neighbor", ["nearest_neighbor"] * 2 + ["critic"]),
        # A schedule may name more scales than a photograph has.
        ("0-40:critic,41-:frechet", ["critic"] * 41 + ["frechet"]),
        (
            "0:critic,1-:critic+sliced_wasserstein",
            ["critic", "critic+sliced_wasserstein", "critic+sliced_wasserstein"],
        ),
    ],
)
def test_a_schedule_names_the_adversary_of_every_scale(text, expected):
    adversary = config.from_settings({"adversary": text}).adversary
    assert [adversary.at(scale) for scale in range(len(expected))] == expected
    assert adversary.at(1000) == adversary.at(41)


@pytest.mark.parametrize(
    "text, words",
    [
        ("0-3:critic", ["scale 4 to none", "4-:NAME"]),
        ("1-:critic", ["scale 0 to none"]),
        ("0-1:critic,3-:frechet", ["scale 2 to none"]),
        ("0-3:critic,3-:frechet", ["scale 3 to two"]),
        ("0-:critic,3-:frechet", ["scale 3 to two"]),
        ("critic,frechet", ["scale 0 to two"]),
        ("0-3:critik,4-:frechet", ["names critik", "sliced_wasserstein"]),
        ("critics", ["names critics", "sliced_wasserstein"]),
        ("3-2:critic,0-:frechet", ["from 3 down to 2"]),
        ("critic+critik", ["names critik", "sliced_wasserstein"]),
        ("0:frechet,1-:critic+critic", ["critic+critic", "twice"]),
        ("critic+", ["'critic+'", "neither"]),
        ("critic + frechet", ["'critic + frechet'", "neither"]),
        ("0-3=critic", ["'0-3=critic'", "neither"]),
        ("-3:critic,4-:frechet", ["'-3:critic'", "neither"]),
        ("0-3:critic;4-:frechet", ["'0-3:critic;4-:frechet'", "neither"]),
    ],
)
def test_schedules_with_gaps_overlaps_or_strange_words_are_refused(text, words):
    refuse({"adversary": text}, f"--adversary={text} ", *words)


def test_paddings_may_be_given_by_scale():
    network = config.from_settings({"padding": "0-1:zeros,2-:reflect"}).network
    assert [network.padding_at(scale) for scale in (0, 1, 2, 9)] == [
        "zeros",
        "zeros",
        "reflect",
        "reflect",
    ]
    assert config.Config().network.padding_at(3) == "zeros"


@pytest.mark.parametrize(
    "text, words",
    [
        ("0-3:zeros", ["scale 4 to none", "4-:NAME"]),
        ("0-3:zeros,3-:reflect", ["scale 3 to two paddings"]),
        ("0-3:zeros,4-:mirror", ["names mirror", "zeros, reflect, circular, noise"]),
        ("zeros+reflect", ["'zeros+reflect'", "neither"]),
    ],
)
def test_paddings_with_gaps_overlaps_or_strange_words_are_refused(text, words):
    refuse({"padding": text}, f"--padding={text} ", *words)


def test_the_generators_normalization_may_be_given_by_scale():
    settings = {"generator_normalization": "0-1:batch,2-:none"}
    network = config.from_settings(settings).network
    found = [network.generator_normalization_at(scale) for scale in (0, 1, 2, 9)]
    assert found == ["batch", "batch", "none", "none"]
    text = "0-1:batch,2-:layer"
    refuse({"generator_normalization": text}, f"={text} names layer", "batch, instance")
    text = "0-1:batch,1-:none"
    refuse({"generator_normalization": text}, "scale 1 to two generator normalizations")


def test_adversaries_at_once_are_named_in_one_order_and_may_have_a_critic():
    text = "0:sliced_wasserstein+frechet,1-2:frechet+critic,3-:critic"
    adversary = config.from_settings({"adversary": text}).adversary
    assert [adversary.names_at(scale) for scale in (0, 2, 3)] == [
        ["frechet", "sliced_wasserstein"],
        ["critic", "frechet"],
        ["critic"],
    ]
    assert [adversary.has_critic(scale) for scale in (0, 2, 3)] == [False, True, True]


def test_patches_must_fit_into_the_smallest_image_seen():
    refuse({"patch_size": 19, "min_size": 18}, "--patch_size=19", "--min_size=18")
    refuse({"patch_size": 17, "crop_size": 16}, "--patch_size=17", "--crop_size=16")
    config.from_settings({"patch_size": 16, "crop_size": 16})


def test_xla_takes_patches_from_a_pool_only():
    refuse({"patch_scales": 2, "xla": True}, "--patch_scales=2", "--previous_pool")
    config.from_settings({"patch_scales": 2, "xla": True, "previous_pool": 1})
    sizes = [(25, 25), (33, 33), (44, 44)]
    # Two scales have nothing above the one that patches may win, and a run that has
    # ended so is read as before.
    asked = {"patches_compete": True, "xla": True}
    config.settle(config.from_settings(asked), sizes[:2])
    with pytest.raises(UsageError, match="--patches_compete.* or leave out --xla"):
        config.settle(config.from_settings(asked), sizes)
    config.settle(config.from_settings({**asked, "previous_pool": 1}), sizes)


def test_patch_scales_take_no_steps():
    settings = config.from_settings({"patch_scales": 2, "steps": 7})
    assert [settings.steps_at(scale) for scale in range(4)] == [0, 0, 7, 7]
    settings = config.from_settings({"patch_scales": 1, "steps": "0-1:7,2-:9"})
    assert [settings.steps_at(scale) for scale in range(4)] == [0, 7, 9, 9]
    assert config.from_settings({"steps": 7}).steps_at(0) == 7
    with pytest.raises(ValueError, match="settle"):
        config.from_settings({"patch_scales": -1}).steps_at(0)


@pytest.mark.parametrize(
    ("longest", "expected"),
    [([33, 160, 161, 250], 2), ([25, 60, 128], 1), ([25, 30], 0), ([300, 900], 0)],
)
def test_the_small_scales_but_the_two_finest_are_patches(longest, expected):
    sizes = [(side // 2, side) for side in longest]
    asked = config.from_settings({"patch_scales": -1, "steps": 7})
    assert config.settle(asked, sizes).layout.patch_scales == expected
    given = config.from_settings({"patch_scales": 3})
    assert config.settle(given, sizes) == given


@pytest.mark.parametrize("count", [1, 2, 5])
def test_of_patches_that_vote_all_scales_but_the_finest_are_made(count):
    sizes = [(100 * side, 200 * side) for side in range(1, count + 1)]
    asked = config.from_settings({"patch_scales": -1, "patch_votes": True})
    assert config.settle(asked, sizes).layout.patch_scales == count - 1


@pytest.mark.parametrize(
    ("values", "sides", "part"),
    [
        ({}, [10, 30], "Scale 0 has 20x10 pixels"),
        ({"patch_scales": 1}, [8, 10, 30], "Scale 1 has 20x10 pixels"),
        ({"adversary": "0:frechet,1-:critic"}, [8, 9, 30], "Scale 1 has 18x9 pixels"),
        ({"adversary": "critic+frechet"}, [8, 9, 30], "Scale 0 has 16x8 pixels"),
        # The two finest are trained.
        ({"patch_scales": -1}, [8, 9], "Scale 0 has 16x8 pixels"),
    ],
)
def test_a_critic_needs_as_many_pixels_as_it_sees(values, sides, part):
    sizes = [(side, 2 * side) for side in sides]
    with pytest.raises(UserError, match=part) as caught:
        config.settle(config.from_settings(values), sizes)
    message = str(caught.value)
    assert "sees 11 in each direction" in message and message.count(".") == 1
    # A smaller scale than the critic's cannot be had from a photograph of that size.
    assert ("--min_size=11" in message) == (sides[-1] >= 11)
    (count,) = map(int, re.findall(r"--patch_scales=(\d+)", message))
    config.settle(config.from_settings({**values, "patch_scales": count}), sizes)


@pytest.mark.parametrize(
    "values",
    [
        {"patch_scales": 1},
        {"adversary": "frechet"},
        {"adversary": "0:sliced_wasserstein,1-:critic"},
        {"adversary": "0:sliced_wasserstein+frechet,1-:critic+frechet"},
    ],
)
def test_without_a_critic_a_scale_may_be_smaller(values):
    asked = config.from_settings({"min_size": 8, **values})
    assert config.settle(asked, [(8, 10), (11, 14), (40, 50)]) == asked


@pytest.mark.parametrize("name", names(int))
def test_numbers_that_no_integer_can_hold_are_refused(name):
    refuse({name: 10**400}, f"--{name}=1000", "at most")


@pytest.mark.parametrize("name", names(float))
def test_numbers_that_no_float_can_hold_are_refused(name):
    refuse({name: 10**400}, f"--{name}=1000", "finite")


@pytest.mark.parametrize("unknown", [["stepz"], ["lr", "alpha"]])
def test_unknown_names_are_refused_by_name(unknown):
    refuse(dict.fromkeys(unknown, 1), *unknown)


def test_configurations_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.Config().training.steps = 3


def test_sections_check_themselves():
    with pytest.raises(UsageError, match="--steps=0"):
        dataclasses.replace(config.Config().training, steps=0)


def test_no_difference_between_equal_configurations():
    assert config.differences(config.Config(), config.Config()) == []


def test_differences_say_what_was_and_what_would_be():
    new = config.from_settings({"steps": 300, "padding": "noise", "min_size": 18})
    assert sorted(config.differences(config.Config(), new)) == [
        "--min_size: 25 -> 18",
        "--padding: zeros -> noise",
        "--steps: 2000 -> 300",
    ]
    newer = config.from_settings({"steps": "0:300,1-:9", "padding": "noise"})
    assert config.differences(new, newer) == [
        "--min_size: 18 -> 25",
        "--steps: 300 -> 0:300,1-:9",
    ]


def test_differences_ignore_runtime_settings_alone():
    runtime = {"strategy", "checkpoint_seconds", "log_steps"}
    runtime |= {"metric_steps", "inception_weights", "vgg_weights"}
    found = config.differences(config.Config(), config.from_settings(CHANGED))
    named = {entry.split(":")[0].removeprefix("--") for entry in found}
    assert named == set(CHANGED) - runtime


def test_config_and_errors_import_the_standard_library_only():
    script = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import singan_tf.config, singan_tf.errors\n"
        "new = set(sys.modules) - before\n"
        "files = [getattr(sys.modules[name], '__file__', None) for name in new]\n"
        "print([file for file in files if file and 'site-packages' in file])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
