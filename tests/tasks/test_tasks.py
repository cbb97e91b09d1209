import contextlib
import hashlib
import json
import math
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers import ROOT, SMOKE, contents, copied, run, sentence
from PIL import Image
from skimage import filters

import main
import singan_tf
from export.pipeline import Pipeline
from singan_tf import images
from singan_tf.cli import interruption
from singan_tf.measure import quality
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder
from singan_tf.tasks import (
    animation,
    masks,
    painting,
    sketching,
    super_resolution,
)
from singan_tf.tasks.inputs import injection_scales
from singan_tf.tasks.task import Task, open_task

# The smoke run's finest scale; 3 scales.
HEIGHT, WIDTH = 32, 48
TASKS = ["sample", "super_resolve", "paint", "harmonize", "edit", "inpaint"]
TASKS += ["outpaint", "animate", "transfer", "tile"]
REDRAWING = ["paint", "transfer", "harmonize", "edit", "inpaint"]
MASKED = ["harmonize", "edit", "inpaint"]


@pytest.fixture(scope="module")
def grey(tmp_path_factory, photograph):
    """A finished run in grey."""
    run_dir = tmp_path_factory.mktemp("runs") / "grey"
    arguments = [f"--image={photograph}", f"--run_dir={run_dir}", SMOKE]
    assert main.main(["main.py", "train", *arguments, "--channels=1"]) == 0
    return run_dir


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Images of the run's size, a mask, and what is wrong in every way."""
    folder = tmp_path_factory.mktemp("inputs")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, [HEIGHT, WIDTH, 3], np.uint8)).save(
        folder / "fits.png"
    )
    Image.fromarray(rng.integers(0, 256, [45, 70, 3], np.uint8)).save(
        folder / "large.png"
    )
    Image.fromarray(rng.integers(0, 256, [4, 70, 3], np.uint8)).save(
        folder / "thin.png"
    )
    mask = np.zeros([HEIGHT, WIDTH], np.uint8)
    mask[12:16, 30:36] = 255
    mask[20, 5] = 128
    mask[21, 5] = 127
    Image.fromarray(mask).save(folder / "mask.png")
    Image.fromarray(mask).resize((96, 64)).save(folder / "large_mask.png")
    Image.fromarray(0 * mask).save(folder / "empty.png")
    Image.fromarray(0 * mask + 255).save(folder / "full.png")
    (folder / "notes.txt").write_text("not an image")
    return folder


def command(name, run_dir, inputs, output_dir):
    """A command line that works, quick enough for a test."""
    arguments = [name, f"--run_dir={run_dir}", f"--output_dir={output_dir}"]
    if name in REDRAWING:
        arguments.append(f"--input={inputs / 'fits.png'}")
    if name in MASKED:
        arguments += [f"--mask={inputs / 'mask.png'}", "--mask_sigma=1"]
        arguments.append("--mask_radius=2")
    arguments += {
        "sample": ["--num_samples=2"],
        "super_resolve": ["--factor=1.5"],
        "outpaint": ["--num_samples=2", "--left=9", "--bottom=5"],
        "tile": ["--num_samples=2", "--scale_h=0.5"],
        "animate": ["--frames=4", "--start_scale=0"],
        "evaluate": ["--num_samples=1"],
    }.get(name, [])
    return arguments


def pixels(path):
    return np.asarray(Image.open(path))


def call(folder):
    return json.loads((folder / "call.json").read_text())


@pytest.mark.parametrize("name", TASKS)
def test_a_task_leaves_results_sheet_and_call_and_the_run_as_it_was(
    capsys, tmp_path, finished, inputs, name
):
    before = contents(finished)
    output = tmp_path / "out"
    status, out, error = run(capsys, *command(name, finished, inputs, output))
    assert status == 0, error
    assert str(output / "contact_sheet.png") in out
    assert contents(finished) == before
    names = {path.name for path in output.iterdir()}
    scales = {f"scale_{n:02d}.png" for n in (1, 2)}
    blended = {f"scale_{n:02d}_blended.png" for n in (1, 2)} | {"mask.png"}
    expected = {
        "sample": {"seed_000000.png", "seed_000001.png"},
        "outpaint": {"seed_000000.png", "seed_000001.png"},
        "tile": {"seed_000000.png", "seed_000001.png"},
        "transfer": {"input.png", "input_matched.png", "scale_01.png"},
        "super_resolve": {"super_resolved.png", "bicubic.png"},
        "paint": {"input.png"} | scales,
        "animate": {"animation.webp", "animation.gif"},
    }.get(name, {"input.png"} | scales | blended)
    names.discard("animation.mp4")
    assert names == expected | {"contact_sheet.png", "call.json"}
    written = call(output)
    assert written["command"] == name
    assert written["version"] == singan_tf.__version__
    assert written["stack"]["tensorflow"] == tf.__version__
    assert written["arguments"]["run_dir"] == str(finished)
    assert written["arguments"]["seed"] == 0
    assert written["arguments"]["output_dir"] == str(output)
    config = (finished / "config.json").read_bytes()
    assert written["run"] == {
        "name": "rocket",
        "image": "rocket.png",
        "image_sha256": json.loads(config)["image"]["sha256"],
        "config_sha256": hashlib.sha256(config).hexdigest(),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_a_function_of_its_seed(capsys, tmp_path, finished, inputs, name):
    for folder, seed in (("a", 3), ("b", 3), ("c", 4)):
        arguments = command(name, finished, inputs, tmp_path / folder)
        status, _, error = run(capsys, *arguments, f"--seed={seed}")
        assert status == 0, error
    results = [contents(tmp_path / folder) for folder in "abc"]
    for result in results:
        result.pop(next(path for path in result if path.name == "call.json"))
    assert results[0] == results[1] != results[2]


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_a_task_works_in_grey(capsys, tmp_path, grey, inputs, name):
    status, _, error = run(capsys, *command(name, grey, inputs, tmp_path / "out"))
    assert status == 0, error
    for path in (tmp_path / "out").glob("scale_*.png"):
        assert pixels(path).shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("name", MASKED)
def test_nothing_changes_outside_the_softened_mask(
    capsys, tmp_path, finished, inputs, name
):
    status, _, error = run(capsys, *command(name, finished, inputs, tmp_path))
    assert status == 0, error
    given = pixels(tmp_path / "input.png")
    source, mask = pixels(inputs / "fits.png"), pixels(inputs / "mask.png")
    distances = [
        np.hypot(*(np.indices(mask.shape) - np.reshape(p, [2, 1, 1])))
        for p in np.argwhere(mask > 127.5)
    ]
    # A disk of 2, then 4 sigma along each axis.
    outside = np.min(distances, axis=0) > 2 + 4 * math.sqrt(2)
    assert outside.mean() > 0.3
    if name != "inpaint":
        np.testing.assert_array_equal(given, source)
    for scale in (1, 2):
        blended = pixels(tmp_path / f"scale_{scale:02d}_blended.png")
        redrawn = pixels(tmp_path / f"scale_{scale:02d}.png")
        np.testing.assert_array_equal(blended[outside], source[outside])
        assert (redrawn[outside] != source[outside]).any()
        centre = blended[13:15, 32:34].astype(int)
        assert np.abs(centre - redrawn[13:15, 32:34]).max() <= 1


SCENE_HEIGHT, SCENE_WIDTH = 128, 192


@pytest.fixture(scope="module")
def scratched(tmp_path_factory):
    """A picture of sky and ground with scratches, as JPEG, its mask, and without."""
    folder = tmp_path_factory.mktemp("scratched")
    y, x = np.mgrid[:SCENE_HEIGHT, :SCENE_WIDTH]
    sky = np.stack([60 + 0.2 * x, 90 + 0.3 * y, 160 + 0 * x], axis=-1)
    ground = np.stack([110 + 0 * x, 80 + 0.1 * x, 40 + 0.1 * y], axis=-1)
    clean = np.where((y < 70)[..., np.newaxis], sky, ground).round().astype(np.uint8)
    mask = np.zeros(clean.shape[:2], np.uint8)
    mask[30, 10:] = mask[101, :-10] = mask[:, 57] = 255
    mask[40:60, 120:140] = 255
    picture = np.where(mask[..., np.newaxis] > 0, np.uint8([255, 0, 255]), clean)
    Image.fromarray(clean).save(folder / "clean.png")
    Image.fromarray(mask).save(folder / "mask.png")
    Image.fromarray(picture).save(folder / "picture.jpg", quality=90)
    Image.fromarray(clean).resize((30, 20)).save(folder / "small.png")
    small = np.zeros([20, 30], np.uint8)
    small[7] = small[:, 13] = 255
    Image.fromarray(small).save(folder / "small_mask.png")
    return folder


@pytest.mark.parametrize(
    ("flag", "size"),
    [
        ("--nokeep_size", (WIDTH, HEIGHT)),
        ("--keep_size", (SCENE_WIDTH, SCENE_HEIGHT)),
        ("--nokeep_size --mask_radius=1 --mask_sigma=0", (WIDTH, HEIGHT)),
        ("--keep_size --mask_radius=7", (SCENE_WIDTH, SCENE_HEIGHT)),
    ],
)
def test_scratches_are_filled_from_clean_pixels(
    capsys, tmp_path, finished, scratched, flag, size
):
    """Though they are a quarter of a pixel wide in the run, and smeared by JPEG."""
    arguments = command("inpaint", finished, scratched, tmp_path)
    arguments[-4:] = [f"--input={scratched / 'picture.jpg'}"]
    arguments += [f"--mask={scratched / 'mask.png'}", "--injection_scale=2"]
    status, _, error = run(capsys, *arguments, *flag.split())
    assert status == 0, error
    given = Image.open(tmp_path / "input.png")
    assert given.size == size
    clean = Image.open(scratched / "clean.png")
    levels = np.asarray(clean.resize(size, Image.BICUBIC)).astype(int)
    # A hole's fill is as wrong as the edge of the ground is sharp.
    wrong = np.abs(np.asarray(given) - levels).max(axis=-1)
    assert np.percentile(wrong, 98) < 12 and wrong.max() < 90
    # Magenta is what green is least in.
    assert (np.asarray(given)[..., 1] > 55).all()


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("kind", ["larger", "smaller"])
def test_what_a_mask_touches_is_inside(
    capsys, tmp_path, finished, scratched, name, kind
):
    picture, mask = {
        "larger": ("clean.png", "mask.png"),
        "smaller": ("small.png", "small_mask.png"),
    }[kind]
    arguments = [name, f"--run_dir={finished}", f"--output_dir={tmp_path}"]
    arguments += [f"--input={scratched / picture}", f"--mask={scratched / mask}"]
    arguments += ["--mask_radius=0", "--mask_sigma=0", "--injection_scale=2"]
    assert run(capsys, *arguments)[0] == 0
    drawn = pixels(scratched / mask) > 0
    expected = np.zeros([HEIGHT, WIDTH], bool)
    steps = np.divide(drawn.shape, expected.shape)
    for point in np.argwhere(drawn):
        top, left = np.floor(point / steps + 1e-9).astype(int)
        bottom, right = np.ceil((point + 1) / steps - 1e-9).astype(int)
        expected[top:bottom, left:right] = True
    assert 0.05 < expected.mean() < 0.4
    np.testing.assert_array_equal(pixels(tmp_path / "mask.png"), 255 * expected)
    assert f"{100 * expected.mean():.1f}% of the image is inside" in " ".join(
        call(tmp_path)["notes"]
    )


def test_without_a_mask_the_whole_image_is_redrawn(capsys, tmp_path, finished, inputs):
    results = []
    for name in ("edit", "paint"):
        arguments = [name, f"--run_dir={finished}", f"--input={inputs / 'fits.png'}"]
        output = tmp_path / name
        assert run(capsys, *arguments, f"--output_dir={output}")[0] == 0
        results.append(pixels(output / "scale_01.png"))
        assert not (output / "mask.png").exists()
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(
    ("file", "flag", "size", "said"),
    [
        ("fits.png", "--nokeep_size", (48, 32), "has the run's size of 48x32"),
        ("large.png", "--nokeep_size", (48, 32), "resized from 70x45 to the run's 48x"),
        ("large.png", "--keep_size", (70, 45), "keeps its size of 70x45"),
    ],
)
def test_the_result_says_what_became_of_the_size(
    capsys, tmp_path, finished, inputs, file, flag, size, said
):
    arguments = [
        f"--run_dir={finished}",
        f"--input={inputs / file}",
        f"--output_dir={tmp_path}",
        "--injection_scale=2",
    ]
    status, out, _ = run(capsys, "paint", *arguments, flag)
    assert status == 0
    assert said in out
    assert said in " ".join(call(tmp_path)["notes"])
    assert Image.open(tmp_path / "scale_02.png").size == size
    assert not (tmp_path / "scale_01.png").exists()


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        ("mask.png", "inside the mask"),
        ("large_mask.png", "was resized from 96x64 to the image's 48x32"),
        ("full.png", "is full"),
    ],
)
def test_the_result_says_what_was_made_of_the_mask(
    capsys, tmp_path, finished, inputs, mask, said
):
    arguments = command("edit", finished, inputs, tmp_path)
    status, out, _ = run(capsys, *arguments, f"--mask={inputs / mask}")
    assert status == 0
    assert said in out
    assert said in " ".join(call(tmp_path)["notes"])
    blended = pixels(tmp_path / "scale_01_blended.png")
    if mask == "full.png":
        np.testing.assert_array_equal(blended, pixels(tmp_path / "scale_01.png"))


def test_the_transparent_part_of_a_mask_is_outside(capsys, tmp_path, finished, inputs):
    drawn = np.asarray(Image.open(inputs / "mask.png"))
    cut_out = np.stack([np.full_like(drawn, 255), drawn], axis=-1)
    Image.fromarray(cut_out, "LA").save(tmp_path / "cut_out.png")
    masks = {}
    for mask in (inputs / "mask.png", tmp_path / "cut_out.png"):
        output = tmp_path / mask.stem
        arguments = command("edit", finished, inputs, output)
        assert run(capsys, *arguments, f"--mask={mask}")[0] == 0
        masks[mask.stem] = pixels(output / "mask.png")
    np.testing.assert_array_equal(masks["cut_out"], masks["mask"])


@pytest.fixture(scope="module")
def opened(finished, tmp_path_factory):
    return open_task(RunFolder(finished), tmp_path_factory.mktemp("opened"))


# What is inside, and beside it a second class.
INSIDE = np.zeros([24, 36], np.uint8)
INSIDE[5:20, 8:30] = 1
SECOND = np.zeros([24, 36], np.uint8)
SECOND[8:15, 12:20] = 1
NOISE = np.random.default_rng(0).integers(-4, 5, INSIDE.shape)


def painted(colour, outside=(0, 0, 0)):
    """One colour on another, RGB or RGBA."""
    return np.where(INSIDE[..., np.newaxis], np.uint8(colour), np.uint8(outside))


def indexed(indices, colours):
    image = Image.fromarray(np.uint8(indices), "P")
    image.putpalette([level for colour in colours for level in colour])
    return image


MASK_FILES = {
    "0 and 255": ("png", 255 * INSIDE),
    "0 and 1": ("png", INSIDE),
    "0 and 1 in 16 bits": ("png", INSIDE.astype(np.uint16)),
    "0 and 65535": ("png", INSIDE * np.uint16(65535)),
    "one bit": ("png", Image.fromarray(INSIDE > 0)),
    "dim": ("bmp", 90 * INSIDE),
    "classes": ("png", INSIDE + SECOND),
    "classes in 16 bits": ("tif", (3 * INSIDE + 2 * SECOND).astype(np.uint16)),
    "classes and a border": ("png", np.where(SECOND, np.uint8(255), 15 * INSIDE)),
    "palette of grey": ("png", indexed(INSIDE, [(0, 0, 0), (1, 1, 1)])),
    "palette of one class": ("png", indexed(INSIDE, [(0, 0, 0), (128, 0, 0)])),
    "palette of classes": (
        "png",
        indexed(INSIDE + SECOND, [(0, 0, 0), (64, 0, 0), (192, 128, 128)]),
    ),
    "colours of classes": ("png", painted((60, 0, 0)) + SECOND[..., np.newaxis] * 140),
    "red": ("png", painted((255, 0, 0))),
    "dark blue": ("png", painted((0, 0, 80))),
    "lossless WebP": ("lossless.webp", 3 * painted((1, 1, 1))),
    "gif": ("gif", painted((0, 0, 255))),
    "red on a layer": ("png", painted((255, 0, 0, 255), (0, 0, 0, 0))),
    "black on a layer": ("png", painted((0, 0, 0, 255), (0, 0, 0, 0))),
    "black on white that is hidden": ("png", painted((0, 0, 0, 255), (9, 255, 255, 0))),
    "faint on a layer": ("png", painted((0, 0, 0, 40), (0, 0, 0, 0))),
    "opaque": ("png", painted((0, 255, 0, 255), (0, 0, 0, 255))),
    "a layer of half opacity": ("png", painted((0, 255, 0, 128), (0, 0, 0, 128))),
    "noise": ("png", np.clip(255 * INSIDE + NOISE, 0, 255).astype(np.uint8)),
    "JPEG": ("jpg", np.clip(255 * INSIDE + NOISE, 0, 255).astype(np.uint8)),
    "lossy WebP": ("webp", painted((255, 0, 0))),
}


@pytest.mark.parametrize("kind", MASK_FILES)
def test_a_mask_is_taken_as_tools_leave_it(tmp_path, opened, kind):
    suffix, image = MASK_FILES[kind]
    path = tmp_path / f"mask.{suffix}"
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    image.save(path, lossless="lossless" in suffix, quality=95)
    mask = masks.read_mask(opened, str(path), exact=False)
    if suffix in ("jpg", "webp"):
        # What is at the edge is on either side.
        assert (mask != INSIDE).mean() < 0.02
    else:
        np.testing.assert_array_equal(mask, INSIDE)


def test_a_mask_is_upright(tmp_path, opened):
    turned = Image.fromarray(np.rot90(255 * INSIDE))
    exif = turned.getexif()
    exif[274] = 6  # turn right to show
    turned.save(tmp_path / "turned.png", exif=exif)
    mask = masks.read_mask(opened, str(tmp_path / "turned.png"), exact=False)
    np.testing.assert_array_equal(mask, INSIDE)


def test_an_index_mask_says_what_became_of_its_classes(tmp_path, opened):
    Image.fromarray(INSIDE + SECOND).save(tmp_path / "classes.png")
    opened.notes.clear()
    masks.read_mask(opened, str(tmp_path / "classes.png"), exact=False)
    assert opened.notes == [
        "The mask classes.png holds several classes: all but black (0) is inside."
    ]
    Image.fromarray(INSIDE).save(tmp_path / "one.png")
    opened.notes.clear()
    masks.read_mask(opened, str(tmp_path / "one.png"), exact=False)
    assert opened.notes == [
        "The brightest level of the mask one.png, 0.3922% of what its format holds, "
        "counts as 100%."
    ]


@pytest.mark.parametrize(
    ("suffix", "image", "said"),
    [
        ("png", 0 * INSIDE, "all of it is black"),
        ("png", painted((255, 0, 0, 0), (0, 0, 0, 0)), "all of it is transparent"),
        ("jpg", np.uint8(NOISE + 4), "of 255, which is what compression leaves"),
    ],
)
def test_an_empty_mask_is_an_error_that_says_why(
    capsys, tmp_path, finished, inputs, suffix, image, said
):
    path = tmp_path / f"none.{suffix}"
    Image.fromarray(image).save(path)
    output = tmp_path / "out"
    for name in MASKED:
        arguments = command(name, finished, inputs, output)
        status, _, error = run(capsys, *arguments, f"--mask={path}")
        assert status == 1
        assert f"{path} is empty: " in sentence(error) and said in error
        assert "A mask is bright inside" in error
        assert not output.exists()


def test_greys_are_cut_and_told_of(capsys, tmp_path, finished, inputs):
    """The mask has levels of 127 and 128."""
    status, out, _ = run(capsys, *command("edit", finished, inputs, tmp_path))
    assert status == 0
    assert "The greys of the mask mask.png were cut at half" in out
    hard = np.where(pixels(inputs / "mask.png") > 127, np.uint8(255), np.uint8(0))
    Image.fromarray(hard).save(tmp_path / "hard.png")
    arguments = command("edit", finished, inputs, tmp_path / "again")
    status, out, _ = run(capsys, *arguments, f"--mask={tmp_path / 'hard.png'}")
    assert status == 0 and "The greys of" not in out
    for name in ("mask.png", "scale_01_blended.png"):
        np.testing.assert_array_equal(
            pixels(tmp_path / name), pixels(tmp_path / "again" / name)
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", MASKED)
def test_a_soft_mask_is_taken_exactly_as_it_is(
    capsys, tmp_path, finished, exported, inputs, name
):
    """And does what it does at a server."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    soft = np.clip(300 - 14 * np.hypot(y - 15, x - 25), 0, 255).astype(np.uint8)
    Image.fromarray(soft).save(tmp_path / "soft.png")
    output = tmp_path / "out"
    arguments = command(name, finished, inputs, output)
    arguments += [f"--mask={tmp_path / 'soft.png'}", "--seed=5"]
    arguments += ["--mask_radius=0", "--mask_sigma=0"]
    assert run(capsys, *arguments)[0] == 0
    notes = " ".join(call(output)["notes"])
    assert "soft.png is taken exactly as it is" in notes
    assert "its greys included" in notes and "cut" not in notes
    np.testing.assert_array_equal(pixels(output / "mask.png"), soft)
    given, source = pixels(output / "input.png"), pixels(inputs / "fits.png")
    blended = pixels(output / "scale_01_blended.png")
    np.testing.assert_array_equal(blended[soft == 0], source[soft == 0])
    if name == "inpaint":
        assert (given[soft == 255] != source[soft == 255]).any(axis=-1).all()
        return
    np.testing.assert_array_equal(given, source)
    request = {"image": source, "mask": soft[..., np.newaxis], "seed": 5}
    served = Pipeline(str(exported))({**request, "injection_scale": 1}, "edit")
    difference = np.abs(blended.astype(int) - served["image"][0])
    # In a graph, sums are taken in another order.
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


@pytest.mark.parametrize(
    ("name", "flag", "status", "part"),
    [
        ("paint", "--injection_scale=3", 1, "from 1 to 2"),
        ("edit", "--injection_scale=0", 1, "from 1 to 2"),
        ("inpaint", "--injection_scale=first", 1, "injection_scale=first"),
        ("paint", "--input={inputs}/notes.txt", 1, "notes.txt"),
        ("harmonize", "--input={inputs}/missing.png", 1, "missing.png"),
        ("harmonize", "--mask={inputs}/notes.txt", 1, "notes.txt"),
        ("edit", "--input=", 2, "--input is missing"),
        ("inpaint", "--mask=", 2, "--mask is missing"),
        ("inpaint", "--mask={inputs}/full.png", 1, "covers the whole image"),
        ("super_resolve", "--factor=0.5", 2, "--factor=0.5"),
        ("super_resolve", "--factor=17", 2, "--factor=17"),
        ("super_resolve", "--factor=nan", 2, "--factor=nan"),
        ("super_resolve", "--input={inputs}/thin.png", 1, "thin.png is 70x4 pixels"),
        ("super_resolve", "--reference={inputs}/fits.png", 1, "the result is 72x48"),
        ("paint", "--quantize", 2, "--injection_scale"),
        ("paint", "--sketch", 2, "--injection_scale"),
        ("paint", "--palette=3 --quantize --injection_scale=1", 2, "of its own"),
        ("paint", "--palette=3 --sketch --injection_scale=1", 2, "of its own"),
        ("paint", "--palette=65", 2, "--palette"),
        ("sample", "--start_scale=every", 2, "--start_scale"),
        ("animate", "--start_scale=all", 2, "--start_scale"),
        ("animate", "--start_scale=3", 2, "from 0 to 2"),
        ("animate", "--frames=1", 2, "--frames"),
        ("sample", "--scale_h=-1", 2, "--scale_h"),
        ("sample", "--scale_v=0.01", 2, "--height=0 must be at least"),
        ("sample", "--noise_scale=-1", 2, "--noise_scale"),
        ("sample", "--keep={inputs}/notes.txt", 1, "notes.txt"),
        ("sample", "--keep={inputs}/empty.png", 1, "is empty"),
        ("sample", "--keep={inputs}/full.png", 1, "keeps the whole photograph"),
        ("sample", "--keep={inputs}/mask.png --width=96", 2, "leave out --width"),
        ("transfer", "--input=", 2, "--input is missing"),
        ("transfer", "--input={inputs}/notes.txt", 1, "notes.txt"),
        ("transfer", "--injection_scale=3", 1, "from 1 to 2"),
        ("tile", "--height=9 --width=9 --scale_h=2", 2, "choose one way"),
        ("tile", "--scale_h=0.01", 2, "--width=0 must be at least"),
        ("tile", "--scale_h=400 --scale_v=400", 2, "at most 100 megapixels"),
        ("outpaint", "--left=0 --bottom=0", 2, "grows nowhere"),
        ("outpaint", "--top=-1", 2, "--top"),
        ("outpaint", "--right=9000000", 2, "the most is 100 megapixels"),
    ],
)
def test_bad_input_is_one_sentence_and_nothing_is_written(
    capsys, tmp_path, finished, inputs, name, flag, status, part
):
    output = tmp_path / "out"
    arguments = command(name, finished, inputs, output)
    found, _, error = run(capsys, *arguments, *flag.format(inputs=inputs).split())
    assert found == status
    assert part in sentence(error)
    assert not output.exists()


def test_two_ways_to_give_a_size_are_refused(capsys, finished):
    arguments = [f"--run_dir={finished}", "--height=40", "--scale_h=2"]
    status, _, error = run(capsys, "sample", *arguments)
    assert status == 2
    assert "choose one way" in sentence(error)


def test_a_loop_that_cannot_close_is_refused(capsys, finished):
    arguments = [f"--run_dir={finished}", "--loop", "--alpha=0"]
    status, _, error = run(capsys, "animate", *arguments)
    assert status == 2
    assert "--alpha=0 never comes back" in sentence(error)


def test_too_many_pixels_are_refused(capsys, tmp_path, finished):
    Image.new("L", (8000, 60)).save(tmp_path / "long.png")
    arguments = [f"--run_dir={finished}", f"--input={tmp_path / 'long.png'}"]
    status, _, error = run(capsys, "super_resolve", *arguments, "--factor=16")
    assert status == 1
    assert "--factor=16 makes 128000x960 pixels" in sentence(error)


@pytest.mark.parametrize("name", [*TASKS, "evaluate"])
def test_an_unfinished_run_is_refused(capsys, tmp_path, finished, inputs, name):
    run_dir = copied(finished, tmp_path / "run")
    (run_dir / "scales" / "02" / "state.json").unlink()
    output = tmp_path / "out"
    status, _, error = run(capsys, *command(name, run_dir, inputs, output))
    assert status == 1
    assert "not finished: 2 of 3 scales" in sentence(error)
    assert not output.exists()


def test_results_never_go_into_the_run(capsys, tmp_path, finished, inputs):
    run_dir = copied(finished, tmp_path / "run")
    for output in (run_dir, run_dir / "results"):
        arguments = command("paint", run_dir, inputs, output)
        status, _, error = run(capsys, *arguments, "--overwrite")
        assert status == 1
        assert "is in the run" in sentence(error)
    assert contents(run_dir) == contents(finished)


def test_a_command_cut_short_leaves_no_call_of_an_earlier_one(
    capsys, tmp_path, finished, inputs, monkeypatch
):
    arguments = command("paint", finished, inputs, tmp_path)
    assert run(capsys, *arguments)[0] == 0

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(painting, "redraw", stop)
    assert run(capsys, *arguments, "--overwrite")[0] == 130
    assert not (tmp_path / "call.json").exists()


def test_multiples_and_noise_scale_of_a_sample(capsys, tmp_path, finished):
    singan, _ = loading.load(RunFolder(finished))
    for index, flags in enumerate(
        [["--scale_h=2"], ["--scale_v=1.5", "--scale_h=0.5"], ["--noise_scale=0"]]
    ):
        output = tmp_path / str(index)
        arguments = ["--num_samples=1", f"--run_dir={finished}"]
        status, _, error = run(
            capsys, "sample", *arguments, f"--output_dir={output}", *flags
        )
        assert status == 0, error
    sizes = [Image.open(tmp_path / n / "seed_000000.png").size for n in "012"]
    assert sizes == [(96, 32), (24, 48), (48, 32)]
    still = images.to_uint8(singan.sample([99], noise_scale=0.0).numpy()[0])
    np.testing.assert_array_equal(pixels(tmp_path / "2/seed_000000.png"), still)


def test_the_same_seeds_across_all_start_scales(capsys, tmp_path, finished):
    singan, _ = loading.load(RunFolder(finished))
    draw = singan.sampler()
    arguments = [f"--run_dir={finished}", "--start_scale=all", "--seed=2"]
    status, out, error = run(
        capsys, "sample", *arguments, f"--output_dir={tmp_path / 'a'}"
    )
    assert status == 0, error
    assert "3 samples" in out
    found = {path.name for path in (tmp_path / "a").glob("seed_*.png")}
    both = [(s, n) for s in (2, 3, 4) for n in range(3)]
    names = {(s, n): f"seed_{s:06d}_scale_{n:02d}.png" for s, n in both}
    assert found == set(names.values())
    for (seed, scale), name in names.items():
        expected = draw([seed], scale, HEIGHT, WIDTH, 1.0).numpy()
        np.testing.assert_array_equal(
            pixels(tmp_path / "a" / name), images.to_uint8(expected[0])
        )
    # A row of the sheet is the photograph and the three scales.
    sheets = [pixels(tmp_path / "a/contact_sheet.png").shape]
    status, _, _ = run(
        capsys, "sample", *arguments, "--num_samples=1", f"--output_dir={tmp_path}/b"
    )
    assert status == 0 and len(list((tmp_path / "b").glob("seed_*.png"))) == 3
    sheets.append(pixels(tmp_path / "b/contact_sheet.png").shape)
    assert sheets[0][1] == sheets[1][1] and sheets[0][0] > 2.5 * sheets[1][0]
    assert call(tmp_path / "b")["arguments"]["start_scale"] == "all"


def test_super_resolution_is_measured_beside_bicubic(capsys, tmp_path, finished):
    """PSNR by its formula; bicubic by Pillow's own, where nothing is clipped."""
    photograph = pixels(finished / "pyramid" / "02.png")
    smooth = Image.fromarray(photograph).resize((72, 48), Image.Resampling.BICUBIC)
    reference = np.random.default_rng(0).normal(smooth, 12).clip(0, 255).astype("u1")
    Image.fromarray(reference).save(tmp_path / "reference.png")
    output = tmp_path / "out"
    arguments = [f"--run_dir={finished}", f"--output_dir={output}", "--factor=1.5"]
    status, out, error = run(
        capsys, "super_resolve", *arguments, f"--reference={tmp_path / 'reference.png'}"
    )
    assert status == 0, error
    results = call(output)["results"]
    for name in ("super_resolved", "bicubic"):
        made = pixels(output / f"{name}.png").astype(float)
        assert made.shape == (48, 72, 3)
        error = np.mean((made - reference) ** 2)
        psnr = 10 * math.log10(255**2 / error)
        assert results[name]["psnr"] == pytest.approx(psnr, abs=0.05)
        assert 0 < results[name]["ssim"] <= 1
        assert f", PSNR {results[name]['psnr']:.2f} dB, SSIM " in out
    difference = pixels(output / "bicubic.png")[4:-4, 4:-4].astype(int)
    difference -= np.asarray(smooth)[4:-4, 4:-4]
    assert np.abs(difference).mean() < 1


def test_an_image_like_its_reference_is_called_equal(capsys, tmp_path, finished):
    reference = finished / "pyramid" / "02.png"
    arguments = [f"--run_dir={finished}", f"--reference={reference}", "--factor=1"]
    status, out, _ = run(
        capsys, "super_resolve", *arguments, f"--output_dir={tmp_path}"
    )
    assert status == 0
    assert ", equal, SSIM 1.000" in out
    bicubic = call(tmp_path)["results"]["bicubic"]
    assert (bicubic["psnr"], bicubic["ssim"]) == (None, 1.0)


@pytest.mark.parametrize(
    "flags, settings",
    [
        ([], (0.8, True)),
        (["--noback_projection"], (0.8, False)),
        (["--strength=1"], (1, True)),
    ],
)
def test_super_resolution_as_the_paper_does_it_or_kinder(
    capsys, tmp_path, finished, flags, settings
):
    singan, _ = loading.load(RunFolder(finished))
    photograph = images.read(finished / "pyramid" / "02.png")
    arguments = [f"--run_dir={finished}", f"--output_dir={tmp_path}", "--factor=2"]
    assert run(capsys, "super_resolve", *arguments, *flags)[0] == 0
    expected = super_resolution.super_resolve(singan, photograph, 2.0, 0, *settings)
    np.testing.assert_array_equal(
        pixels(tmp_path / "super_resolved.png"), images.to_uint8(expected[0])
    )


def test_blur_tells_a_blurred_image_from_a_sharp_one():
    sharp = np.random.default_rng(0).uniform(-1, 1, [1, 40, 50, 3]).astype(np.float32)
    blurred = filters.gaussian(sharp, sigma=(0, 2, 2, 0))
    blur = quality.quality(sharp, None)["blur"], quality.quality(blurred, None)["blur"]
    assert 0 <= blur[0] < blur[1] <= 1


def test_super_resolution_enlarges_another_image_from_its_own_size(
    capsys, tmp_path, finished, inputs
):
    arguments = [f"--run_dir={finished}", f"--input={inputs / 'large.png'}"]
    status, out, _ = run(
        capsys, "super_resolve", *arguments, f"--output_dir={tmp_path}", "--factor=2.5"
    )
    assert status == 0
    assert "keeps its size of 70x45" in out
    assert Image.open(tmp_path / "super_resolved.png").size == (175, 112)


def test_detail_is_the_middle():
    image = np.arange(200 * 90).reshape(1, 200, 90, 1)
    cut = super_resolution.detail(image, 100)
    assert cut.shape == (1, 100, 90, 1)
    assert cut[0, 0, 0, 0] == image[0, 50, 0, 0]


@pytest.mark.slow
def test_an_animation_says_how_smooth_it_is_and_closes_its_loop(
    capsys, tmp_path, trained
):
    arguments = [f"--run_dir={trained}", "--frames=12", "--loop", "--fps=20"]
    status, out, error = run(
        capsys, "animate", *arguments, "--start_scale=0", f"--output_dir={tmp_path}"
    )
    assert status == 0, error
    results = call(tmp_path)["results"]
    assert 0 < results["mean_difference"] < 255
    assert 1 <= results["largest_over_median"] < 3
    assert f"{results['mean_difference']:.2f} of 255 levels" in out
    for name in ("animation.webp", "animation.gif"):
        animation = Image.open(tmp_path / name)
        assert animation.n_frames == 12
        assert animation.size == (64, 43)
        assert animation.info["loop"] == 0
        animation.seek(1)
        animation.load()
        assert animation.info["duration"] == 50


@pytest.mark.parametrize(
    ("still", "way_out"),
    [
        (["--alpha=1"], "--alpha below 1."),
        (["--beta=1", "--loop"], "--beta below 1."),
        (["--alpha=1", "--beta=1"], "--alpha below 1 and --beta below 1."),
        # A thousandth of a thousandth of the noise.
        (
            ["--alpha=0.999", "--beta=0.999"],
            "a lower --start_scale, --alpha or --beta.",
        ),
    ],
)
def test_an_animation_that_stands_still_says_so(
    capsys, tmp_path, finished, still, way_out
):
    arguments = [f"--run_dir={finished}", "--frames=3", *still]
    status, out, _ = run(capsys, "animate", *arguments, f"--output_dir={tmp_path}")
    assert status == 0
    assert f"hardly move; choose {way_out}" in out
    assert call(tmp_path)["results"]["largest_over_median"] is None


def test_without_a_codec_the_missing_film_is_one_sentence(
    capsys, tmp_path, finished, monkeypatch
):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    arguments = [f"--run_dir={finished}", "--frames=2", f"--output_dir={tmp_path}"]
    status, out, _ = run(capsys, "animate", *arguments)
    assert status == 0
    assert "pip install imageio-ffmpeg" in out
    assert not (tmp_path / "animation.mp4").exists()


def test_a_film_where_there_is_a_codec(capsys, tmp_path, finished):
    reader = pytest.importorskip("imageio_ffmpeg")
    arguments = [f"--run_dir={finished}", "--frames=5", f"--output_dir={tmp_path}"]
    assert run(capsys, "animate", *arguments)[0] == 0
    count, seconds = reader.count_frames_and_secs(str(tmp_path / "animation.mp4"))
    assert (count, seconds) == (5, 0.5)


@pytest.fixture(scope="module")
def quantized(tmp_path_factory, finished, inputs):
    before = contents(finished)
    output = tmp_path_factory.mktemp("quantized") / "out"
    arguments = command("paint", finished, inputs, output)
    arguments += ["--quantize", "--injection_scale=1"]
    assert main.main(["main.py", *arguments]) == 0
    assert contents(finished) == before
    return output


def test_a_quantized_painting_has_the_main_colours(quantized, finished):
    """The painting enters in 5 colours, each pixel in the one nearest to it."""
    singan, _ = loading.load(RunFolder(finished))
    last = images.read(finished / "pyramid" / "02.png")
    palette = painting.find_palette(painting.entering(singan, last, 1), 5)
    image = images.read(quantized / "input.png")
    entered = painting.entering(singan, image, 1)[0]
    expected = np.empty_like(entered)
    for y in range(entered.shape[0]):
        for x in range(entered.shape[1]):
            distances = [np.sum((entered[y, x] - c) ** 2) for c in palette]
            expected[y, x] = palette[np.argmin(distances)]
    found = pixels(quantized / "input_quantized.png")
    np.testing.assert_array_equal(found, images.to_uint8(expected))


def test_the_quantized_scale_is_trained_beside_the_original(quantized, finished):
    trained = quantized / "quantized" / "scales" / "01"
    lines = (trained / "losses.csv").read_text().splitlines()
    assert len(lines) == len((finished / "scales/01/losses.csv").read_text().split())
    variables = [
        dict(tf.train.list_variables(str(folder / "step-000005-finished")))
        for folder in (trained, finished / "scales" / "01")
    ]
    palette = "stage/palette/.ATTRIBUTES/VARIABLE_VALUE"
    assert variables[0].pop(palette) == [5, 3]
    assert variables[0] == variables[1]
    original, other = (
        pixels(quantized / name) for name in ("scale_01.png", "scale_01_quantized.png")
    )
    assert original.shape == other.shape == (HEIGHT, WIDTH, 3)
    assert (original != other).any()


def test_quantizing_again_gives_the_same(capsys, tmp_path, quantized, finished, inputs):
    output = copied(quantized, tmp_path / "out")
    arguments = command("paint", finished, inputs, output)
    arguments += ["--quantize", "--injection_scale=1"]
    status, _, error = run(capsys, *arguments, "--overwrite")
    assert status == 0, error
    for name in ("scale_01_quantized.png", "quantized/scales/01/losses.csv"):
        assert (output / name).read_bytes() == (quantized / name).read_bytes()


@pytest.mark.slow
def test_quantizing_works_in_grey(capsys, tmp_path, grey, inputs):
    arguments = command("paint", grey, inputs, tmp_path)
    arguments += ["--quantize", "--injection_scale=2"]
    status, _, error = run(capsys, *arguments)
    assert status == 0, error
    assert pixels(tmp_path / "scale_02_quantized.png").shape == (HEIGHT, WIDTH)


def test_a_painting_in_the_photograph_s_main_colours(
    capsys, tmp_path, finished, inputs
):
    arguments = command("paint", finished, inputs, tmp_path / "a")
    status, _, error = run(capsys, *arguments, "--palette=4")
    assert status == 0, error
    colours = np.unique(pixels(tmp_path / "a/palette.png").reshape(-1, 3), axis=0)
    assert len(colours) == 4
    snapped = tmp_path / "a/input_palette.png"
    assert {tuple(c) for c in pixels(snapped).reshape(-1, 3)} <= set(
        map(tuple, colours)
    )
    # They stand for the photograph, which has no other pixel so far from each.
    photograph = pixels(finished / "pyramid" / "02.png").reshape(-1, 1, 3).astype(int)
    distances = np.linalg.norm(photograph - colours, axis=-1)
    assert len(set(distances.argmin(axis=1))) == 4
    spread = np.linalg.norm(photograph[:, 0] - photograph.mean(axis=(0, 1)), axis=-1)
    assert distances.min(axis=1).mean() < 0.5 * spread.mean()
    arguments = command("paint", finished, inputs, tmp_path / "b")
    arguments[-1] = f"--input={snapped}"
    assert run(capsys, *arguments)[0] == 0
    first, second = (pixels(tmp_path / f"{x}/scale_01.png").astype(int) for x in "ab")
    # The palette is rounded to levels in the second.
    assert np.abs(first - second).mean() < 1


SKETCH = ["--sketch", "--injection_scale=1"]


def sketch_command(run_dir, output):
    return ["paint", f"--run_dir={run_dir}", f"--output_dir={output}", *SKETCH]


@pytest.fixture(scope="module")
def sketched(tmp_path_factory, finished):
    before = contents(finished)
    output = tmp_path_factory.mktemp("sketched") / "out"
    assert main.main(["main.py", *sketch_command(finished, output)]) == 0
    assert contents(finished) == before
    return output


def test_without_a_drawing_the_mirrored_sketch_is_painted(sketched, finished):
    photograph = images.read(finished / "pyramid" / "02.png")
    expected = images.to_uint8(sketching.sketch(photograph)[0])
    assert 0 < (expected == 0).mean() < 0.3
    np.testing.assert_array_equal(pixels(sketched / "sketch.png"), expected)
    np.testing.assert_array_equal(pixels(sketched / "input.png"), expected[:, ::-1])


def test_stages_that_paint_sketches_are_trained_beside_the_run(
    tmp_path, sketched, finished
):
    results = {f"{name}.png" for name in ("sketch_painted", "scale_01_sketch")}
    results |= {"input.png", "sketch.png", "scale_01.png"}
    names = {path.name for path in sketched.iterdir()}
    assert names == results | {"contact_sheet.png", "call.json", "sketched"}
    task = open_task(RunFolder(finished), sketched)
    painter = sketching.sketch_painter(
        task, copied(sketched / "sketched", tmp_path / "s"), 1
    )
    drawing = images.read(sketched / "input.png")
    for name, found in (
        ("sketch_painted", painter.reconstruct().numpy()),
        ("scale_01_sketch", painting.redraw(painter, drawing, 1, 0)),
    ):
        expected = images.to_uint8(found[0])
        np.testing.assert_array_equal(pixels(sketched / f"{name}.png"), expected)
    own = pixels(sketched / "scale_01.png")
    assert (pixels(sketched / "scale_01_sketch.png") != own).any()


@pytest.mark.slow
def test_an_interrupted_painter_goes_on_as_if_it_had_not_stopped(
    capsys, tmp_path, sketched, finished, monkeypatch
):
    asked = []

    @contextlib.contextmanager
    def signals():
        # Within the second of two scales of five steps.
        yield lambda: asked.append(1) or len(asked) == 8

    output = tmp_path / "out"
    monkeypatch.setattr(interruption, "asked_about", signals)
    status, _, error = run(capsys, *sketch_command(finished, output))
    assert status == 130 and error.rstrip().endswith("--overwrite")
    assert RunFolder(output / "sketched").state(1).finished
    assert RunFolder(output / "sketched").state(2).step == 3
    assert run(capsys, *sketch_command(finished, output), "--overwrite")[0] == 0
    for scale in (1, 2):
        losses = f"sketched/scales/{scale:02d}/losses.csv"
        assert (output / losses).read_bytes() == (sketched / losses).read_bytes()
    name = "scale_01_sketch.png"
    assert (output / name).read_bytes() == (sketched / name).read_bytes()
    # Ten steps in all: none was trained twice.
    assert len(asked) == 10


@pytest.mark.slow
def test_a_painter_of_another_scale_is_trained_anew(tmp_path, sketched, finished):
    folder = copied(sketched / "sketched", tmp_path / "sketched")
    task = open_task(RunFolder(finished), tmp_path)
    sketching.sketch_painter(task, folder, 2)
    assert [path.name for path in (folder / "scales").iterdir()] == ["02"]


@pytest.mark.slow
def test_a_painter_learns_to_paint(tmp_path, trained):
    """The run's own stages leave a sketch's white; those trained on sketches do not."""
    task = open_task(RunFolder(trained), tmp_path)
    painter = sketching.sketch_painter(task, tmp_path / "sketched", 2)
    sketch = sketching.photograph_sketch(task)
    own = painting.redraw(task.singan, sketch, 2, 0)
    # A drawing that was not trained on, and what it should come to.
    drawing, truth = sketch[:, :, ::-1], task.photograph[:, :, ::-1]
    painted = painting.redraw(painter, drawing, 2, 0)

    def error(image, truth):
        return np.sqrt(np.mean((image - truth) ** 2))

    assert error(painter.reconstruct(), task.photograph) < 0.3
    # How badly the run's own stages do differs from machine to machine.
    assert error(painted, truth) < 0.4
    assert 2 * error(painted, truth) < error(own, task.photograph)


def test_a_drawing_of_bright_lines_is_noted(tmp_path, finished):
    task = open_task(RunFolder(finished), tmp_path)
    sketch = sketching.photograph_sketch(task)
    images.write(tmp_path / "dark.png", -sketch)
    images.write(tmp_path / "fine.png", sketch)
    found = sketching.read_drawing(task, str(tmp_path / "fine.png"), False)
    np.testing.assert_array_equal(found, sketch)
    assert not any("invert" in note for note in task.notes)
    sketching.read_drawing(task, str(tmp_path / "dark.png"), False)
    assert "dark.png is mostly dark" in task.notes[-1]


def test_a_photograph_without_outlines_is_refused(capsys, tmp_path, finished):
    run_dir = copied(finished, tmp_path / "run")
    images.write(run_dir / "pyramid" / "02.png", np.zeros([HEIGHT, WIDTH, 3]))
    output = tmp_path / "out"
    status, _, error = run(capsys, *sketch_command(run_dir, output))
    assert status == 1 and "has no outlines" in sentence(error)
    assert not output.exists()


def test_blots_or_lines(capsys, tmp_path, finished):
    arguments = sketch_command(finished, tmp_path / "out")
    status, _, error = run(capsys, *arguments, "--quantize")
    assert status == 2 and "choose one" in sentence(error)


@pytest.mark.slow
def test_the_higher_the_start_scale_the_more_the_layout_stays(trained):
    singan, _ = loading.load(RunFolder(trained))
    photograph = images.read(trained / "pyramid" / "03.png").ravel()
    likeness = []
    for start_scale in range(4):
        samples = [singan.sample([seed], start_scale) for seed in range(5)]
        likeness.append(
            np.mean([np.corrcoef(np.ravel(s), photograph)[0, 1] for s in samples])
        )
    # The first step is the layout's; those above it move details, and little.
    assert likeness[0] < 0.9 < min(likeness[1:])
    assert likeness[1] < likeness[-1]


@pytest.mark.slow
def test_the_higher_the_injection_scale_the_more_of_an_image_stays(trained):
    singan, _ = loading.load(RunFolder(trained))
    coffee = images.read(images.resolve("coffee"))[:, ::8, ::8]
    likeness = []
    for scale in (1, 2, 3):
        redrawn = painting.redraw(singan, coffee, scale, 0)
        likeness.append(np.corrcoef(redrawn.ravel(), coffee.ravel())[0, 1])
    assert likeness == sorted(likeness)


@pytest.mark.slow
def test_a_trained_animation_moves_without_jumps(trained):
    singan, _ = loading.load(RunFolder(trained))
    walk = animation.Walk(1, 0.1, 0.9, 30, True, 0)
    frames = [images.to_uint8(f[0]) for f in animation.animate(singan, walk)]
    differences = animation.frame_differences(frames, walk.loop)
    assert differences.max() < 3 * np.median(differences)


def test_a_run_of_one_scale_takes_no_image(finished):
    singan, config = loading.load(RunFolder(finished))
    singan.sizes = singan.sizes[:1]
    task = Task(RunFolder(finished), finished, singan, config, [])
    with pytest.raises(singan_tf.errors.UserError, match="one scale"):
        injection_scales(task, "all")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("preset", "section", "setting"),
    [
        ("super_resolution", "training", {"reconstruction_weight": 100.0}),
        ("animation", "network", {"padding": "noise"}),
    ],
)
def test_a_preset_combines_with_another(
    capsys, tmp_path, photograph, preset, section, setting
):
    run_dir = tmp_path / "run"
    flags = [f"--flagfile={ROOT / 'configs' / preset}.flags", "--num_scales=2"]
    arguments = [f"--image={photograph}", f"--run_dir={run_dir}", SMOKE, *flags]
    status, _, error = run(capsys, "train", *arguments, "--steps=1")
    assert status == 0, error
    config = json.loads((run_dir / "config.json").read_text())["config"]
    assert setting.items() <= config[section].items()
    command = ["animate", f"--run_dir={run_dir}", f"--output_dir={tmp_path / 'out'}"]
    assert run(capsys, *command, "--frames=3", "--loop")[0] == 0
