"""The public face: what Python programs get by `import singan_tf`."""

import pathlib

import numpy as np
import pytest
from helpers import contents, pixels
from PIL import Image

import main
import singan_tf
from singan_tf import images
from singan_tf.errors import UsageError, UserError
from singan_tf.runs.folder import RunFolder
from singan_tf.tasks import painting

TINY = {"min_size": 16, "max_size": 32, "num_scales": 2, "steps": 2, "width": 4}


@pytest.fixture(scope="module")
def model(finished):
    return singan_tf.load(str(finished))


def test_every_public_name_is_there_and_no_other():
    for name in singan_tf.__all__:
        assert getattr(singan_tf, name) is not None
        assert name in dir(singan_tf)
    with pytest.raises(AttributeError, match="has no attribute 'spam'"):
        singan_tf.spam  # noqa: B018


def test_samples_equal_the_commands_to_the_last_level(model, sampled):
    found = model.sample([3, 4], height=44, width=66)
    assert found.dtype == np.float32 and found.shape == (2, 44, 66, 3)
    for image, expected in zip(found, sampled):
        np.testing.assert_array_equal(images.to_uint8(image), expected)


def test_a_sample_is_the_same_alone_as_in_a_batch(model):
    together = model.sample([5, -3, 2**40], start_scale=1, noise_scale=0.5)
    assert together.shape == (3, *model.size, 3)
    for index, seed in enumerate([5, -3, 2**40]):
        alone = model.sample([seed], start_scale=1, noise_scale=0.5)
        np.testing.assert_array_equal(alone[0], together[index])
    assert model.sample([]).shape == (0, *model.size, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"start_scale": -1},
        {"start_scale": 3},
        {"height": 0},
        {"height": 2},
        {"width": 5},
        {"height": 20_000, "width": 20_000},
        {"noise_scale": -0.5},
        {"noise_scale": float("nan")},
    ],
)
def test_arguments_out_of_range_are_refused(model, wrong):
    with pytest.raises(ValueError, match="is not"):
        model.sample([1], **wrong)


def test_an_edit_equals_the_commands_to_the_last_level(model, finished, tmp_path):
    image = model.sample([1])[0]
    image[8:16, 10:20] = image[20:28, 30:40]
    mask = np.zeros(model.size, bool)
    mask[8:16, 10:20] = True
    images.write(tmp_path / "edited.png", image)
    Image.fromarray(mask).save(tmp_path / "mask.png")
    arguments = ["main.py", "edit", f"--run_dir={finished}", "--seed=3"]
    arguments += [f"--input={tmp_path}/edited.png", f"--mask={tmp_path}/mask.png"]
    arguments += ["--injection_scale=1", "--overwrite"]
    arguments += [f"--output_dir={tmp_path}/out"]
    # With the widening of the default the mask would be the whole of so small a run.
    for options in ({}, {"mask_radius": 3, "mask_sigma": 0.5}):
        flags = [f"--{name}={value}" for name, value in options.items()]
        assert main.main([*arguments, *flags]) == 0
        read = images.read(tmp_path / "edited.png")[0]
        found = model.edit(read, mask, 1, seed=3, **options)
        assert found.dtype == np.float32
        expected = pixels(tmp_path / "out" / "scale_01_blended.png")
        np.testing.assert_array_equal(images.to_uint8(found), expected)
    kept = np.asarray(found == read).all(axis=-1)
    assert kept[30:].all() and not kept[mask].any()


@pytest.mark.parametrize(
    "wrong",
    [
        {"image": np.zeros([40, 60, 3], np.uint8)},
        {"image": np.zeros([1, 40, 60, 3], np.float32)},
        {"image": np.zeros([40, 60, 1], np.float32)},
        {"mask": np.zeros([40, 60, 1])},
        {"injection_scale": 0},
        {"injection_scale": 3},
    ],
)
def test_what_cannot_be_edited_is_refused(model, wrong):
    good = {
        "image": np.zeros([40, 60, 3], np.float32),
        "mask": np.zeros([40, 60]),
        "injection_scale": 1,
    }
    with pytest.raises(ValueError, match="is not"):
        model.edit(**{**good, **wrong})


def test_training_in_python_makes_the_commands_run(
    tmp_path, photograph, finished, model
):
    settings = singan_tf.preset("smoke")
    trained = singan_tf.train(str(photograph), str(tmp_path / "run"), settings)
    np.testing.assert_array_equal(trained.sample([1]), model.sample([1]))
    for name in ("config.json", "samples.png", "scales/02/losses.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (finished / name).read_bytes()
    assert RunFolder(tmp_path / "run").report.exists()


def test_what_is_drawn_around_a_picture_equals_the_commands(model, finished, tmp_path):
    photograph = images.read(finished / "pyramid" / "02.png")[0]
    kept = np.zeros(model.size, bool)
    kept[5:20, 12:30] = True
    images.write(tmp_path / "kept.png", 2 * kept[..., np.newaxis] - np.float32(1))
    found = {
        "sample": model.keep(photograph, kept, seed=3),
        "outpaint": model.outpaint(photograph, left=8, bottom=3, seed=3),
    }
    flags = {"sample": [f"--keep={tmp_path / 'kept.png'}"]}
    flags["outpaint"] = ["--left=8", "--bottom=3"]
    for name, image in found.items():
        output = tmp_path / name
        arguments = ["main.py", name, f"--run_dir={finished}", *flags[name]]
        arguments += [f"--output_dir={output}", "--seed=3", "--num_samples=1"]
        assert main.main(arguments) == 0
        written = pixels(output / "seed_000003.png")
        np.testing.assert_array_equal(written, images.to_uint8(image))
    np.testing.assert_array_equal(found["outpaint"][:-3, 8:], photograph)


def test_a_painting_equals_the_commands(model, finished, tmp_path):
    images.write(tmp_path / "painting.png", np.float32(0.9) * model.sample([9])[0])
    output = tmp_path / "out"
    arguments = ["main.py", "paint", f"--run_dir={finished}", "--injection_scale=2"]
    arguments += [f"--input={tmp_path}/painting.png", f"--output_dir={output}"]
    assert main.main([*arguments, "--seed=3", "--palette=3"]) == 0
    photograph = images.read(finished / "pyramid" / "02.png")
    palette = painting.find_palette(photograph, 3)
    read = images.read(tmp_path / "painting.png")[0]
    found = images.to_uint8(model.paint(read, 2, seed=3, palette=palette))
    np.testing.assert_array_equal(found, pixels(output / "scale_02.png"))
    assert (images.to_uint8(model.paint(read, 2, seed=3)) != found).any()


def test_tiles_and_transfers_equal_the_commands(model, finished, tmp_path):
    arguments = [f"--run_dir={finished}", "--seed=3"]
    size = ["--height=24", "--width=50", "--num_samples=1"]
    tile = ["main.py", "tile", *arguments, *size, f"--output_dir={tmp_path}/tile"]
    assert main.main(tile) == 0
    written = pixels(tmp_path / "tile" / "seed_000003.png")
    found = model.tile(3, height=24, width=50)
    np.testing.assert_array_equal(images.to_uint8(found), written)
    picture = images.to_uint8(model.sample([9])[0, ::-1])
    Image.fromarray(picture).save(tmp_path / "picture.png")
    arguments += [f"--input={tmp_path}/picture.png"]
    read = images.read(tmp_path / "picture.png")[0]
    photograph = images.read(finished / "pyramid" / "02.png")[0]
    for name, flags, given in (
        ("matched", [], (photograph, None)),
        ("own", ["--nomatch_colours", "--injection_scale=2"], (None, 2)),
    ):
        output = tmp_path / name
        command = ["main.py", "transfer", *arguments, *flags]
        assert main.main([*command, f"--output_dir={output}"]) == 0
        (written,) = output.glob("scale_*.png")
        found = model.transfer(read, *given, seed=3)
        np.testing.assert_array_equal(images.to_uint8(found), pixels(written))


@pytest.mark.parametrize(
    "draw",
    [
        lambda model, image: model.paint(image, 0),
        lambda model, image: model.paint(image, 1, palette=image),
        lambda model, image: model.paint(image, 1, palette=np.zeros([4, 1], "f4")),
        lambda model, image: model.tile(height=3),
        lambda model, image: model.tile(width=10**9),
        lambda model, image: model.tile(noise_scale=-1.0),
        lambda model, image: model.transfer(image[..., :1]),
        lambda model, image: model.transfer(image, image.astype(float)),
        lambda model, image: model.transfer(image, injection_scale=3),
        lambda model, image: model.keep(image[1:], np.ones(model.size, bool)),
        lambda model, image: model.keep(image, np.ones(model.size, bool)),
        lambda model, image: model.keep(image, np.ones(model.size)),
        lambda model, image: model.outpaint(image.astype(float), left=1),
        lambda model, image: model.outpaint(image, left=-1),
        lambda model, image: model.outpaint(image, top=10**7),
    ],
)
def test_what_cannot_be_drawn_around_is_refused(model, draw):
    image = np.zeros([*model.size, 3], np.float32)
    with pytest.raises(ValueError, match="is not|has to|each is"):
        draw(model, image)


@pytest.mark.slow
def test_an_array_trains_and_is_known_again(tmp_path, photograph):
    array = pixels(photograph)
    singan_tf.train(array, tmp_path / "run", TINY)
    before = contents(tmp_path / "run")
    singan_tf.train(array.copy(), tmp_path / "run", TINY)
    assert contents(tmp_path / "run") == before
    with pytest.raises(UserError, match="photograph: another one"):
        singan_tf.train(array[:, ::-1], tmp_path / "run", TINY)
    for _ in range(2):
        singan_tf.train(array, tmp_path / "run", TINY, continue_steps=1)
        states = [RunFolder(tmp_path / "run").state(scale) for scale in (0, 1)]
        assert [state.step for state in states] == [2, 3]


def test_what_cannot_be_trained_is_refused(tmp_path, photograph):
    for array in (np.zeros([4, 4]), np.zeros([1, 4, 4, 3], np.uint8)):
        with pytest.raises(ValueError, match="is not uint8"):
            singan_tf.train(array, tmp_path / "run")
    with pytest.raises(UsageError, match="no setting named spam"):
        singan_tf.train(photograph, tmp_path / "run", {"spam": 1})
    with pytest.raises(ValueError, match="continue_steps -1"):
        singan_tf.train(photograph, tmp_path / "run", TINY, continue_steps=-1)
    with pytest.raises(UsageError, match="train command"):
        singan_tf.train(photograph, tmp_path / "run", {"strategy": "multi_worker"})
    with pytest.raises(UserError, match="no run in"):
        singan_tf.load(tmp_path / "none")
    assert list(pathlib.Path(tmp_path).iterdir()) == []
