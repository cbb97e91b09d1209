"""The signatures as a server has them: through a V1 session and through the C API."""

import io
import resource
import time

import numpy as np
import png_files
import pytest
import tensorflow as tf
from helpers import pixels, run
from PIL import Image

from export import verify
from export.c_api import CSession
from export.replay import SessionError
from singan_tf import images
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder
from singan_tf.tasks import super_resolution

MAX_PIXELS, MAX_BATCH = 2**16, 8  # of the fixture `exported`
INVALID_ARGUMENT = 3
DTYPES = {
    "seed": np.int64,
    "start_scale": np.int32,
    "height": np.int32,
    "width": np.int32,
    "noise_scale": np.float32,
    "factor": np.float32,
    "injection_scale": np.int32,
    "image": np.uint8,
    "mask": np.uint8,
    "image_bytes": "S",
    "mask_bytes": "S",
}
WAYS = ["v1", "c_api"]


@pytest.fixture(scope="module")
def singan(finished):
    return loading.load(RunFolder(finished))[0]


@pytest.fixture(scope="module")
def remembered(singan):
    """The reconstruction, uint8 [1, H, W, 3]."""
    return images.to_uint8(singan.reconstruct().numpy())


@pytest.fixture(scope="module")
def sessions(exported):
    """Ways to run tensors by name."""
    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph)
    tf.compat.v1.saved_model.load(session, ["serve"], str(exported))

    def run_v1(feeds, fetches):
        # By the operations, whose shapes Python would check before TensorFlow does.
        try:
            return session.run(fetches, feeds)
        except tf.errors.OpError as error:
            raise SessionError(error.error_code, error.message) from None

    yield {"v1": run_v1, "c_api": CSession(exported).run}
    session.close()


@pytest.fixture(scope="module")
def ask(exported, sessions):
    """Calls a signature; gives its one output.

    Defaults are fed, too, unless they are to be left to the graph: a session
    compiles anew for every set of inputs.
    """
    meta_graph = verify.read_meta_graph(exported)

    def call(way, signature, fill=True, **inputs):
        definition = meta_graph.signature_def[signature]
        if fill:
            defaults = definition.defaults.items()
            stored = {name: tf.make_ndarray(value) for name, value in defaults}
            inputs = {**stored, **inputs}
        feeds = {
            definition.inputs[name].name: np.asarray(value, DTYPES[name])
            for name, value in inputs.items()
        }
        ((output, info),) = definition.outputs.items()
        assert output == ("image_bytes" if signature.endswith("_png") else "image")
        return sessions[way](feeds, [info.name])[0]

    return call


def png(image, kind="PNG"):
    file = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else images._to_pillow(image)
    picture.save(file, kind)
    return file.getvalue()


def from_png(data):
    levels = pixels(data)
    return levels if levels.ndim == 3 else levels[..., np.newaxis]


def bomb(width, height):
    """A PNG file that asks for more than it holds."""
    return png_files.png(width, height, 8, 2, bytes(1000))


def stacked(*seeds, size, channels=3):
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (len(seeds), *size, channels), np.uint8)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("start", [0, 2])
def test_a_sample_is_that_of_the_command_line(
    ask, finished, capsys, tmp_path, way, start
):
    height, width = 37, 61
    arguments = [f"--height={height}", f"--width={width}", f"--start_scale={start}"]
    arguments += ["--seed=7", "--num_samples=2", f"--output_dir={tmp_path / 'out'}"]
    status, _, error = run(capsys, "sample", f"--run_dir={finished}", *arguments)
    assert status == 0, error
    asked = {"start_scale": [start], "height": [height], "width": [width]}
    asked = {"seed": [7, 8], "noise_scale": [1], **asked}
    samples = ask(way, "sample", **asked)
    files = ask(way, "sample_png", **asked)
    assert samples.shape == (2, height, width, 3)
    for seed, sample, file in zip((7, 8), samples, files):
        written = pixels(tmp_path / "out" / f"seed_{seed:06d}.png")
        np.testing.assert_array_equal(sample, written)
        np.testing.assert_array_equal(from_png(file), written)
    assert samples.std() > 5


@pytest.mark.parametrize("way", WAYS)
def test_each_row_of_a_sample_has_its_own_start_scale_and_noise(ask, singan, way):
    rows = [(5, 0, 1.0), (-3, 2, 0.5), (2**40, 1, 2.0), (5, 1, 1.0)]
    seeds, starts, noise_scales = zip(*rows)
    height, width = singan.sizes[-1]
    samples = ask(
        way, "sample", seed=seeds, start_scale=starts, noise_scale=noise_scales
    )
    draw = singan.sampler()
    for sample, (seed, start, noise_scale) in zip(samples, rows):
        eager = singan.sample([seed], start, noise_scale=noise_scale).numpy()
        assert np.abs(sample - 127.5 * (eager[0] + 1)).max() < 0.51
        drawn = draw([seed], start, height, width, noise_scale).numpy()
        np.testing.assert_array_equal(sample, images.to_uint8(drawn[0]))


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("factor", [1, 1.25, 2.3, 4])
def test_super_resolution_is_that_of_the_program(ask, singan, way, factor):
    image = stacked(1, size=(22, 31))
    large = ask(way, "super_resolve", image=image, factor=[factor], seed=[3])
    given = (image.astype(np.float32) / 255) * 2 - 1
    factor = float(np.float32(factor))
    expected = super_resolution.super_resolve(singan, given, factor, 3)
    assert large.shape == (1, round(22 * factor), round(31 * factor), 3)
    np.testing.assert_array_equal(large, images.to_uint8(expected))
    file = ask(
        way, "super_resolve_png", image_bytes=[png(image)], factor=[factor], seed=[3]
    )
    np.testing.assert_array_equal(from_png(file[0]), large[0])


@pytest.mark.parametrize("way", WAYS)
def test_an_edit_redraws_by_the_mask(ask, singan, way):
    size = (35, 50)
    image = stacked(1, 2, size=size)
    mask = stacked(1, 2, size=size, channels=1)
    mask[:, :, :20] = 0
    mask[0, :, 20:30] = 255
    edited = ask(
        way, "edit", image=image, mask=mask, injection_scale=[1, 2], seed=[4, 5]
    )
    for row, (scale, seed) in enumerate([(1, 4), (2, 5)]):
        given = (image[row : row + 1].astype(np.float32) / 255) * 2 - 1
        redrawn = singan.inject(tf.constant(given), scale, [seed]).numpy()
        weight = mask[row].astype(np.float32) / 255
        expected = (1 - weight) * given + weight * redrawn
        assert np.abs(edited[row] - 127.5 * (expected[0] + 1)).max() < 0.51
    np.testing.assert_array_equal(edited[:, :, :20], image[:, :, :20])
    assert (edited[:, :, 20:] != image[:, :, 20:]).mean() > 0.5
    files = ask(
        way,
        "edit_png",
        image_bytes=[png(row) for row in image],
        mask_bytes=[png(row) for row in mask],
        injection_scale=[1, 2],
        seed=[4, 5],
    )
    np.testing.assert_array_equal([from_png(file) for file in files], edited)


@pytest.mark.parametrize("way", WAYS)
def test_a_reconstruction_is_the_same_in_every_row(ask, remembered, way):
    rows = ask(way, "reconstruct", seed=[9, 9, 1])
    np.testing.assert_array_equal(rows, np.repeat(remembered, 3, axis=0))
    for file in ask(way, "reconstruct_png", seed=[1, 2]):
        np.testing.assert_array_equal(from_png(file), remembered[0])


IMAGES = stacked(*range(4), size=(30, 40))
MASKS = stacked(*range(4), size=(30, 40), channels=1)
BATCHES = {
    "serving_default": {"seed": [1, 2, 1, -4], "start_scale": [0, 2, 0, 1]},
    "sample": {"seed": [1, 2, 1, -4], "noise_scale": [1, 0.5, 1, 2], "width": [50] * 4},
    "sample_png": {"seed": [1, 2, 1, -4], "height": [30, 41, 30, 35]},
    "super_resolve": {
        "image": IMAGES[[0, 1, 0, 2]],
        "factor": [2] * 4,
        "seed": [1] * 4,
    },
    "super_resolve_png": {
        "image_bytes": [png(IMAGES[i, : 30 - i]) for i in (0, 1, 0, 2)],
        "factor": [2, 1.5, 2, 3],
        "seed": [1, 2, 1, 2],
    },
    "edit": {
        "image": IMAGES[[0, 1, 0, 2]],
        "mask": MASKS[[0, 1, 0, 2]],
        "injection_scale": [1, 2, 1, 1],
        "seed": [1, 2, 1, 2],
    },
    "edit_png": {
        "image_bytes": [png(IMAGES[i, : 30 - i]) for i in (0, 1, 0, 2)],
        "mask_bytes": [png(MASKS[0]), b"", png(MASKS[0]), png(MASKS[2, :28])],
        "injection_scale": [1, 2, 1, 1],
        "seed": [1, 2, 1, 2],
    },
    "reconstruct": {"seed": [1, 2, 1, 3]},
    "reconstruct_png": {"seed": [1, 2, 1, 3]},
}


@pytest.mark.parametrize("signature", BATCHES)
@pytest.mark.parametrize("way", WAYS)
def test_a_row_of_an_answer_depends_on_its_row_of_the_request(ask, way, signature):
    def rows(order):
        return {name: [column[i] for i in order] for name, column in batch.items()}

    batch = BATCHES[signature]
    together = ask(way, signature, **batch)
    order = [2, 3, 1, 0]
    permuted = ask(way, signature, **rows(order))
    np.testing.assert_array_equal(permuted, [together[i] for i in order])
    np.testing.assert_array_equal(together[0], together[2])
    assert np.any(together[0] != together[1]) or "reconstruct" in signature
    for index in range(4):
        alone = ask(way, signature, **rows([index]))
        np.testing.assert_array_equal(alone[0], together[index])


@pytest.mark.parametrize("way", WAYS)
def test_one_row_serves_all(ask, way):
    image, mask = IMAGES[:1], MASKS[:1]
    few = ask(way, "edit", image=image, mask=mask, injection_scale=[1], seed=[1, 2])
    many = ask(
        way,
        "edit",
        image=np.repeat(image, 2, 0),
        mask=np.repeat(mask, 2, 0),
        injection_scale=[1, 1],
        seed=[1, 2],
    )
    np.testing.assert_array_equal(few, many)


def test_what_is_left_out_has_its_default(ask, singan):
    way = "c_api"
    height, width = singan.sizes[-1]
    full = {"start_scale": [0], "height": [height], "width": [width]}
    np.testing.assert_array_equal(
        ask(way, "serving_default", fill=False, seed=[1, 2]),
        ask(way, "sample", seed=[1, 2], noise_scale=[1], **full),
    )
    image = IMAGES[:2]
    np.testing.assert_array_equal(
        ask(way, "super_resolve", fill=False, image=image),
        ask(way, "super_resolve", image=image, factor=[4, 4], seed=[0, 0]),
    )
    np.testing.assert_array_equal(
        ask(way, "edit", fill=False, image=image, injection_scale=[1]),
        ask(
            way,
            "edit",
            image=image,
            injection_scale=[1],
            mask=np.full([2, 30, 40, 1], 255),
            seed=[0],
        ),
    )
    files = [png(row) for row in image]
    np.testing.assert_array_equal(
        ask(way, "edit_png", fill=False, image_bytes=files, injection_scale=[1]),
        ask(
            way,
            "edit_png",
            image_bytes=files,
            injection_scale=[1],
            mask_bytes=[b"", b""],
            seed=[0],
        ),
    )


def kinds_of_png():
    colour = Image.fromarray(IMAGES[0])
    clear = colour.copy()
    clear.putalpha(Image.fromarray(MASKS[0, :, :, 0]))
    clear_palette = colour.quantize(4)
    clear_palette.info["transparency"] = bytes([255, 100, 15, 0])
    grey = colour.convert("L")
    deep = Image.fromarray(np.asarray(grey, np.uint16) * 257)
    return {
        "colour": colour,
        "transparent": clear,
        "grey": grey,
        "grey and transparent": clear.convert("LA"),
        "palette": colour.quantize(64),
        "four colours": colour.quantize(4),
        "black and white": colour.convert("1"),
        "palette and transparent": clear_palette,
        "16 bits": deep,
    }


@pytest.mark.parametrize("kind", kinds_of_png())
def test_all_kinds_of_png_are_read_as_the_program_reads_them(ask, tmp_path, kind):
    path = tmp_path / "image.png"
    kinds_of_png()[kind].save(path)
    # Outside the mask, what was read comes back.
    nothing = png(np.zeros([30, 40, 1], np.uint8))
    (file,) = ask(
        "c_api",
        "edit_png",
        image_bytes=[path.read_bytes()],
        mask_bytes=[nothing],
        injection_scale=[1],
        seed=[0],
    )
    np.testing.assert_array_equal(from_png(file), images.to_uint8(images.read(path)[0]))


SMALL = stacked(1, size=(30, 5))
PNG = png(IMAGES[0])
SAMPLES = [
    ({"seed": []}, "seed must have from 1 to 8 rows, not 0"),
    ({"seed": range(9)}, "seed must have from 1 to 8 rows, not 9"),
    ({"start_scale": [-1]}, "start_scale must be from 0 to 2, not"),
    ({"start_scale": [0, 3]}, "start_scale must be from 0 to 2, not"),
    (
        {"start_scale": [0, 0, 0], "seed": [1, 2]},
        "must have 1 row or as many as the other",
    ),
    ({"height": [0]}, "height must be at least"),
    ({"height": [-(2**31)]}, "height must be at least"),
    ({"width": [5]}, "width must be at least"),
    ({"height": [257], "width": [256]}, "with height x width at most 65536"),
    ({"height": [100_000], "width": [100_000]}, "with height x width at most 65536"),
    ({"height": [2**31 - 1], "width": [2**31 - 1]}, "at most 65536"),
    ({"noise_scale": [np.nan]}, "noise_scale must be from 0 to 10, not"),
    ({"noise_scale": [1, np.inf]}, "noise_scale must be from 0 to 10, not"),
    ({"noise_scale": [-0.1]}, "noise_scale must be from 0 to 10, not"),
    ({"noise_scale": []}, "noise_scale must have from 1 to 8 rows, not 0"),
]
FACTORS = [
    ({"factor": [0.99]}, "factor must be from 1 to 16, and"),
    ({"factor": [16.1]}, "factor must be from 1 to 16, and"),
    ({"factor": [np.nan]}, "factor must be from 1 to 16, and"),
    ({"factor": [np.inf]}, "factor must be from 1 to 16, and"),
    ({"factor": [16]}, "and the result at most 65536 pixels"),
    ({"factor": [2, 2, 2], "seed": [1, 1]}, "1 row or as many as the other inputs"),
    ({"seed": []}, "seed must have from 1 to 8 rows, not 0"),
]
ONE_IMAGE = [
    ({"image": IMAGES[:0]}, "image must have from 1 to 8 rows, not 0"),
    ({"image": SMALL}, "image must be at least"),
    ({"image": np.zeros([1, 0, 40, 3])}, "image must be at least"),
    ({"image": np.zeros([1, 257, 256, 3])}, "image must be at least"),
]
ONE_FILE = [
    ({"image_bytes": []}, "image_bytes must have from 1 to 8 rows, not 0"),
    ({"image_bytes": [b""]}, "image_bytes must be a PNG file in every row"),
    ({"image_bytes": [PNG, PNG[:20]]}, "image_bytes must be a PNG file in every row"),
    ({"image_bytes": [b"no image"]}, "image_bytes must be a PNG file in every row"),
    ({"image_bytes": [png(IMAGES[0], "JPEG")]}, "image_bytes must be a PNG file"),
    ({"image_bytes": [png(SMALL)]}, "image_bytes must be a PNG file in every row, at"),
    ({"image_bytes": [bomb(257, 256)]}, "width at most 65536, not"),
    ({"image_bytes": [bomb(100_000, 100_000)]}, "width at most 65536, not"),
    ({"image_bytes": [bomb(2**32 - 1, 2**31 - 1)]}, "width at most 65536, not"),
    ({"image_bytes": [PNG[:-20]]}, "image_bytes_decoded"),
    ({"image_bytes": [PNG[:99] + bytes(50) + PNG[149:]]}, "image_bytes_decoded"),
]
SCALES = [
    ({"injection_scale": [0]}, "injection_scale must be from 1 to 2, not"),
    ({"injection_scale": [1, 3]}, "injection_scale must be from 1 to 2, not"),
    ({"injection_scale": []}, "injection_scale must have from 1 to 8 rows, not 0"),
    ({"seed": range(9)}, "seed must have from 1 to 8 rows, not 9"),
]
# What is wrong, and what is said, beside the good inputs.
BAD = {
    "serving_default": ({}, SAMPLES),
    "sample": (
        {},
        [
            *SAMPLES,
            ({"height": [30, 31], "seed": [1, 2]}, "height must be the same in all"),
            ({"width": [40, 41], "seed": [1, 2]}, "width must be the same in all"),
        ],
    ),
    "sample_png": ({}, SAMPLES),
    "super_resolve": (
        {"image": IMAGES[:1]},
        [
            *FACTORS,
            *ONE_IMAGE,
            ({"factor": [2, 3]}, "factor must be the same in all rows, not"),
        ],
    ),
    "super_resolve_png": ({"image_bytes": [PNG]}, [*FACTORS, *ONE_FILE]),
    "edit": (
        {"image": IMAGES[:1], "injection_scale": [1]},
        [
            *SCALES,
            *ONE_IMAGE,
            ({"mask": MASKS[:1, :29]}, "mask must be of the height and width of"),
            ({"mask": MASKS[:1, :1]}, "mask must be of the height and width of"),
            ({"mask": MASKS[:0]}, "mask must have from 1 to 8 rows, not 0"),
        ],
    ),
    "edit_png": (
        {"image_bytes": [PNG], "injection_scale": [1]},
        [
            *SCALES,
            *ONE_FILE,
            ({"mask_bytes": [png(MASKS[0, :29])]}, "mask_bytes must be a PNG file of"),
            ({"mask_bytes": [b"no"]}, "mask_bytes must be a PNG file of the height"),
            ({"mask_bytes": [bomb(2**20, 2**20)]}, "mask_bytes must be a PNG file of"),
            ({"mask_bytes": [bomb(40, 30)]}, "mask_bytes_decoded"),
        ],
    ),
    "reconstruct": ({}, SAMPLES[:2]),
    "reconstruct_png": ({}, SAMPLES[:2]),
}


@pytest.mark.parametrize("signature", BAD)
@pytest.mark.parametrize("way", WAYS)
def test_bad_values_are_refused_in_a_sentence(ask, way, signature):
    good, cases = BAD[signature]
    if not {"image", "image_bytes"} & set(good):
        good = {"seed": [1], **good}
    ask(way, signature, **good)
    for bad, part in cases:
        before, start = most_memory(), time.monotonic()
        with pytest.raises(SessionError) as caught:
            ask(way, signature, **{**good, **bad})
        assert caught.value.code == INVALID_ARGUMENT, bad
        assert part in str(caught.value), bad
        assert most_memory() - before < 64 and time.monotonic() - start < 5


def most_memory():
    """The most that this process has ever held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.mark.parametrize("signature", BAD)
def test_bad_shapes_and_types_are_refused(ask, signature):
    """Through the C API; Python's session refuses them itself."""
    good, _ = BAD[signature]
    good = {"seed": [1], **good}
    for name, value in good.items():
        value = np.asarray(value, DTYPES[name])
        for shape in (value[0] if value.ndim == 1 else value[0], value[np.newaxis]):
            with pytest.raises(SessionError) as caught:
                ask("c_api", signature, **{**good, name: shape})
            assert caught.value.code == INVALID_ARGUMENT
            assert f"{signature}_{name}" in str(caught.value)
    if "image" in good:
        with pytest.raises(SessionError, match=f"{signature}_image"):
            ask("c_api", signature, **{**good, "image": MASKS[:1]})
