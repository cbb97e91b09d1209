import fractions
import itertools
import math

import numpy as np
import pytest
from helpers import pixels, run, sentence
from PIL import Image
from pyramids import random_image
from task_commands import HEIGHT, MASKED, WIDTH, call, command

from export.pipeline import Pipeline
from singan_tf.runs.folder import RunFolder
from singan_tf.tasks import masks
from singan_tf.tasks.task import open_task


def square_mask(height=40, width=50, top=15, left=20, side=6):
    mask = np.zeros([height, width], bool)
    mask[top : top + side, left : left + side] = True
    return mask


@pytest.mark.parametrize("radius", [0, 1, 4, 7])
def test_a_mask_is_widened_by_a_disk(radius):
    mask = square_mask()
    mask[2, 47] = True
    expected = np.zeros(mask.shape)
    inside = np.argwhere(mask)
    for y, x in itertools.product(*map(range, mask.shape)):
        distances = ((inside - [y, x]) ** 2).sum(axis=1)
        expected[y, x] = distances.min() <= radius**2
    softened = masks.soften_mask(mask.astype(np.float32), radius, 0)
    assert softened.dtype == np.float32
    np.testing.assert_array_equal(softened, expected)


def test_a_mask_is_blurred_by_a_gaussian_and_ends():
    sigma, reach = 2.5, 10
    mask = square_mask()
    kernel = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(-reach, reach + 1)]
    kernel = np.array(kernel) / sum(kernel)
    expected = mask.astype(float)
    for axis in (0, 1):
        margins = [(reach, reach) if axis == a else (0, 0) for a in (0, 1)]
        padded = np.pad(expected, margins, mode="edge")
        expected = np.apply_along_axis(np.convolve, axis, padded, kernel, "valid")
    softened = masks.soften_mask(mask, 0, sigma)
    np.testing.assert_allclose(softened, expected, atol=1e-6)
    rows, columns = np.nonzero(softened)
    assert (rows.min(), rows.max()) == (15 - reach, 20 + reach)
    assert (columns.min(), columns.max()) == (20 - reach, 25 + reach)


def test_a_mask_that_is_neither_widened_nor_blurred_is_as_it_was():
    mask = np.random.default_rng(0).uniform(0, 1, [20, 30]).astype(np.float32)
    softened = masks.soften_mask(mask, 0, 0)
    np.testing.assert_array_equal(softened, mask)
    assert (masks.soften_mask(mask, 0, 0.1) != mask).any()


@pytest.mark.parametrize(
    "size", [(3, 4), (20, 30), (7, 11), (19, 29), (31, 47), (40, 60), (1, 1)]
)
def test_a_pixel_of_a_resized_mask_is_the_brightest_that_it_overlaps(size):
    mask = np.random.default_rng(0).uniform(0, 1, [20, 30])

    def overlapped(index, source, target):
        step = fractions.Fraction(source, target)
        first, end = index * step, (index + 1) * step
        return [p for p in range(source) if p < end and p + 1 > first]

    expected = [
        [
            mask[np.ix_(overlapped(y, 20, size[0]), overlapped(x, 30, size[1]))].max()
            for x in range(size[1])
        ]
        for y in range(size[0])
    ]
    np.testing.assert_array_equal(masks.resize_mask(mask, *size), expected)
    np.testing.assert_array_equal(
        masks.resize_mask(mask > 0.9, *size), np.array(expected) > 0.9
    )


@pytest.mark.parametrize("value", [False, True])
def test_an_empty_and_a_full_mask_stay_so(value):
    softened = masks.soften_mask(np.full([30, 20], value), 5, 3)
    np.testing.assert_array_equal(softened, np.full([30, 20], float(value)))


def test_a_blend_is_exact_where_the_mask_is_0_or_1():
    original, changed = random_image(9, 8), random_image(9, 8, seed=1)
    mask = np.random.default_rng(2).choice([0, 0.5, 1], [9, 8]).astype(np.float32)
    blended = masks.blend(original, changed, mask)
    np.testing.assert_array_equal(blended[:, mask == 0], original[:, mask == 0])
    np.testing.assert_array_equal(blended[:, mask == 1], changed[:, mask == 1])
    middle = (original + changed) / 2
    np.testing.assert_allclose(blended[:, mask == 0.5], middle[:, mask == 0.5], 1e-5)


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
    drawn = pixels(inputs / "mask.png")
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
