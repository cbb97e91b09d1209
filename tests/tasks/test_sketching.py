import contextlib

import numpy as np
import pytest
from helpers import contents, copied, pixels, run, sentence
from pyramids import random_image
from task_commands import HEIGHT, WIDTH

import main
from singan_tf import images
from singan_tf.cli import interruption
from singan_tf.runs.folder import RunFolder
from singan_tf.tasks import painting, sketching
from singan_tf.tasks.task import open_task


@pytest.mark.parametrize("channels", [1, 3])
def test_a_step_is_drawn_as_a_line_along_it(channels):
    image = np.full([1, 20, 31, channels], -0.5, np.float32)
    image[:, :, 15:] = 0.5
    drawn = sketching.sketch(image)
    assert drawn.shape == image.shape and drawn.dtype == np.float32
    assert set(np.unique(drawn)) == {-1, 1}
    assert (drawn == drawn[..., :1]).all()
    lines = drawn[0, :, :, 0] == -1
    assert not np.delete(lines, [14, 15], axis=1).any()
    # An edge detector does not see beyond the border.
    assert lines[2:-2].any(axis=1).all()


def test_a_disk_is_drawn_as_its_circle():
    y, x = np.mgrid[:50, :60]
    distance = np.hypot(y - 24, x - 31)
    image = np.where(distance < 15, 0.9, -0.2).astype(np.float32)[None, :, :, None]
    lines = sketching.sketch(image)[0, :, :, 0] == -1
    assert (abs(distance[lines] - 15) < 1.5).all()
    # All around: in every tenth of the full angle.
    angles = np.arctan2(y - 24, x - 31)[lines]
    assert (np.histogram(angles, 10, (-np.pi, np.pi))[0] >= 5).all()


def test_nothing_is_drawn_where_nothing_is():
    """Also where gradients are so rare that rounding is among the strongest tenth."""
    image = np.full([1, 60, 60, 3], 0.3, np.float32)
    image[:, 40:46, 20:26] = 0.31
    lines = sketching.sketch(image)[0, :, :, 0] == -1
    assert lines[37:49, 17:29].sum() >= 12
    lines[37:49, 17:29] = False
    assert not lines.any()


def test_a_pale_image_has_the_lines_of_a_strong_one():
    image = random_image(40, 50)
    drawn = sketching.sketch(image)
    assert 0 < (drawn == -1).mean() < 0.3
    np.testing.assert_array_equal(sketching.sketch(image / 16), drawn)


@pytest.mark.parametrize("size", [(1, 1), (30, 40)])
def test_an_image_of_one_colour_has_no_lines(size):
    image = np.full([1, *size, 3], 0.3, np.float32)
    assert (sketching.sketch(image) == 1).all()


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
