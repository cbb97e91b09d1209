"""The largest requests that an export allows are answered within the memory it states.

A process of its own, whose memory the operating system limits: what a request would
take beyond it fails there, and not on the machine of who runs the tests.
"""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from helpers import ROOT

from export import rows, signatures
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder

# docs/serving.md states both; half of its fixed part is for larger strips than here.
BYTES_PER_PIXEL, FIXED_BYTES = 600, 2**28
MAX_PIXELS = 2**16  # of the fixture `exported`

ASKING = """
import io, re, resource, sys
import numpy as np
from PIL import Image
from export.pipeline import Pipeline

max_pixels, least_height, least_width, allowed = map(int, sys.argv[2:])
pipeline = Pipeline(sys.argv[1], "sample")

def png(array):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()

def ask(height, width, seed):
    image = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    mask, file, mask_file = image[..., :1], png(image[0]), png(image[0, :, :, 0])
    factor = max(1, min(16, height // least_height, width // least_width))
    small = image[:, : height // factor, : width // factor]
    made = {"seed": seed, "height": [height], "width": [width]}
    rows = len(seed)
    for signature, inputs in [
        ("sample", made),
        ("sample_png", made),
        ("super_resolve", {"image": image, "factor": [1.0], "seed": seed}),
        ("super_resolve", {"image": small, "factor": [factor], "seed": seed}),
        ("super_resolve_png", {
            "image_bytes": rows * [file], "factor": [1.0], "seed": seed}),
        ("edit", {"image": image, "mask": mask, "injection_scale": [1], "seed": seed}),
        ("edit_png", {
            "image_bytes": rows * [file], "mask_bytes": rows * [mask_file],
            "injection_scale": [1], "seed": seed}),
        ("reconstruct", {"seed": seed}),
        ("reconstruct_png", {"seed": seed}),
    ]:
        (answer,) = pipeline(inputs, signature).values()
        assert len(answer) == rows
        print(signature, height, width, rows, flush=True)

# Threads, allocators and each signature's kernels are there before what counts.
ask(64, 64, [0])
with open("/proc/self/status") as file:
    held = int(re.search(r"VmData:\\s+(\\d+) kB", file.read())[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (held + allowed, held + allowed))
side = int(max_pixels**0.5)
ask(least_height, max_pixels // least_height, [0])
ask(max_pixels // least_width, least_width, [0])
ask(side, side, [0, 1])
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts so")
def test_the_largest_requests_of_every_shape_stay_within_the_stated_memory(
    exported, finished
):
    least = signatures.least_sides(loading.load(RunFolder(finished))[0])
    allowed = FIXED_BYTES + BYTES_PER_PIXEL * MAX_PIXELS
    arguments = [exported.parent, MAX_PIXELS, *least, allowed]
    process = subprocess.run(
        [sys.executable, "-c", ASKING, *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stdout + process.stderr[-3000:]
    assert len(process.stdout.splitlines()) == 4 * 9


@pytest.mark.slow
@pytest.mark.parametrize(
    "signature, inputs, row_bytes",
    [
        ("sample", {"height": [30], "width": [50]}, 30 * 50 * 3),
        ("super_resolve", {"image": np.zeros([1, 30, 50, 3]), "factor": [1.5]}, 10125),
        ("edit", {"image": np.zeros([1, 30, 50, 3]), "injection_scale": [1]}, 4500),
        ("reconstruct", {}, 32 * 48 * 3),
    ],
)
def test_an_answer_that_no_message_holds_is_refused_before_it_is_computed(
    finished, monkeypatch, signature, inputs, row_bytes
):
    monkeypatch.setattr(rows, "MAX_ANSWER_BYTES", 2 * row_bytes)
    singan, _ = loading.load(RunFolder(finished))
    assert singan.sizes[-1] == (32, 48)
    limits = signatures.Limits(2**16, 8)
    functions = signatures.build(singan, limits)
    known = signatures.inputs(singan, limits)
    fed = {
        name: tf.constant(value, known[name].dtype) for name, value in inputs.items()
    }

    def ask(rows):
        seed = tf.range(rows, dtype=tf.int64)
        return functions[signature](seed=seed, **fed)["image"]

    assert len(ask(2)) == 2
    with pytest.raises(tf.errors.InvalidArgumentError, match="ask for fewer rows"):
        ask(3)
