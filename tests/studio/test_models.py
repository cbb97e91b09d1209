"""What the studio draws is what the commands write, to the last bit."""

import inspect
import pathlib
import shlex
import types

import numpy as np
import pytest
from helpers import pixels
from serving_helpers import NAME

import main
from export import client_commands
from export.client import SinGANClient
from export.served_model import ServedModel
from singan_tf import images
from singan_tf.cli import launch
from singan_tf.errors import UserError
from singan_tf.runs.folder import RunFolder
from singan_tf.studio import edit_tab, enlarge_tab, models, paint_tab, session, sources
from singan_tf.tasks import animation, blending


@pytest.fixture(scope="module")
def model(finished):
    return models.RunModel(RunFolder(finished), launch.task)


@pytest.fixture
def painting(model, tmp_path):
    """The photograph with a square in it, in a file, and the square's mask."""
    picture = model.photograph.copy()
    picture[:, 10:20, 20:30] = 1
    images.write(tmp_path / "input.png", picture)
    mask = np.zeros([*picture.shape[1:3], 1])
    mask[10:20, 20:30] = 1
    images.write(tmp_path / "mask.png", 2 * mask - 1)
    return tmp_path / "input.png", tmp_path / "mask.png"


def by_command(line, folder, monkeypatch):
    """The pictures that a command line writes, by file name."""
    monkeypatch.chdir(folder)
    program, script, *words = shlex.split(line)
    assert (program, script) == ("python", "main.py")
    assert main.main(["main.py", *words, f"--output_dir={folder / 'out'}"]) == 0
    return {path.name: pixels(path) for path in (folder / "out").glob("*.png")}


def test_a_sample_is_the_commands(model, tmp_path, monkeypatch):
    line = model.line(
        "sample",
        seed=3,
        num_samples=1,
        height=44,
        width=66,
        start_scale=1,
        noise_scale=0.5,
    )
    found = by_command(line, tmp_path, monkeypatch)
    drawn = model.sample(3, 1, (44, 66), 0.5)
    np.testing.assert_array_equal(images.to_uint8(drawn[0]), found["seed_000003.png"])


def test_a_retargeted_photograph_is_the_commands(model, tmp_path, monkeypatch):
    line = model.line("sample", seed=3, num_samples=1, width=90, height=44, retarget=1)
    found = by_command(line, tmp_path, monkeypatch)
    drawn = models.retarget(model, (44, 90), 1, 3)
    np.testing.assert_array_equal(images.to_uint8(drawn[0]), found["seed_000003.png"])


@pytest.mark.parametrize("colours", [None, 4])
def test_a_painting_is_the_commands(model, painting, tmp_path, monkeypatch, colours):
    path, _ = painting
    line = model.line(
        "paint", input="input.png", injection_scale=1, palette=colours, seed=5
    )
    found = by_command(line, tmp_path, monkeypatch)
    image, notes = models.read_input(model, path, colours or 0)
    redrawn = model.redraw(image, 1, 5)
    np.testing.assert_array_equal(images.to_uint8(redrawn[0]), found["scale_01.png"])
    assert len(notes) == 1 and "the run's size" in notes[0]


@pytest.mark.parametrize(("way", "fill"), [("edit", False), ("inpaint", True)])
def test_a_blended_edit_is_the_commands(
    model, painting, tmp_path, monkeypatch, way, fill
):
    line = model.line(
        way,
        input="input.png",
        mask="mask.png",
        mask_radius=3,
        mask_sigma=1.5,
        injection_scale=2,
        seed=1,
    )
    found = by_command(line, tmp_path, monkeypatch)
    masking = blending.Masking(3, 1.5, fill)
    image, softened, _ = models.read_masked(model, *painting, masking)
    _, blended = model.blend(image, softened, 2, 1)
    name = "scale_02_blended.png"
    np.testing.assert_array_equal(images.to_uint8(blended[0]), found[name])


@pytest.mark.slow
def test_an_enlargement_and_frames_are_the_commands(model, tmp_path, monkeypatch):
    line = model.line("super_resolve", factor=2.0, strength=0.5, seed=1)
    found = by_command(line, tmp_path, monkeypatch)
    enlarged = model.enlarge(model.photograph, 2.0, 0.5, 1)
    np.testing.assert_array_equal(
        images.to_uint8(enlarged[0]), found["super_resolved.png"]
    )
    walk = animation.Walk(1, 0.1, 0.9, 3, False, 2)
    frames = [images.to_uint8(frame[0]) for frame in model.animate(walk)]
    images.write_animation(tmp_path / "ours.gif", frames, 10.0)
    line = model.line("animate", start_scale=1, frames=3, seed=2, alpha=0.1, beta=0.9)
    by_command(f"{line} --overwrite", tmp_path, monkeypatch)
    written = (tmp_path / "out" / "animation.gif").read_bytes()
    assert written == (tmp_path / "ours.gif").read_bytes()


@pytest.fixture(scope="module")
def served(served_export):
    target = f"127.0.0.1:{served_export.port}"
    with SinGANClient(target, NAME) as client:
        yield ServedModel(client, target, NAME)


def test_a_served_model_draws_what_the_run_does(model, served):
    assert served.abilities == {models.SAMPLE, models.REDRAW, models.ENLARGE}
    ours = images.to_uint8(model.sample(3, 0, (44, 66), 1.0))
    theirs = images.to_uint8(served.sample(3, 0, (44, 66), 1.0))
    np.testing.assert_array_equal(ours, theirs)
    softened = np.zeros(served.photograph.shape[1:3], np.float32)
    softened[:10] = 1
    _, blended = served.blend(served.photograph, softened, 1, 0)
    np.testing.assert_array_equal(blended[:, 10:], served.photograph[:, 10:])
    assert (blended[:, :10] != served.photograph[:, :10]).any()
    with pytest.raises(UserError, match="does not animate"):
        served.animate(animation.Walk(1, 0.1, 0.9, 3, False, 2))
    with pytest.raises(UserError, match="The server at 127.0.0.1:.* gave no answer: "):
        served.redraw(served.photograph, 99, 0)
    line = served.line("edit", input="input.png", mask="mask.png", mask_radius=3,
                       mask_sigma=2.0, injection_scale=2, seed=1)  # fmt: skip
    target = served.line("sample", seed=0).split()[4]
    assert target.startswith("--target=127.0.0.1:")
    assert line == (
        f"python -m export.client edit {target} --model={NAME} "
        "--input=given.png --mask=softened_mask.png --injection_scale=2 --seeds=1"
    )


ASKED = types.SimpleNamespace(session_hash="somebody")


def by_client(lines, folder, monkeypatch):
    """The picture that each line of the client makes, in a folder of files."""
    monkeypatch.chdir(folder)
    made = []
    for line in lines.split("\n"):
        python, flag, module, *words = shlex.split(line)
        assert (python, flag, module) == ("python", "-m", "export.client")
        assert client_commands.main(["client", *words]) == 0
        given = [each for each in words if each.startswith("--output_dir=")]
        out = given[0].split("=")[1] if given else f"outputs/{NAME}/served_{words[0]}"
        made += [pixels(path) for path in pathlib.Path(out).glob("seed_*.png")]
    return made


def drawn(tab, served, tmp_path, *values):
    """What a tab gives last, and the folder of its files."""
    page = session.Page(sources.One(served), tmp_path / "sessions")
    given = tab(page)(NAME, *values, ASKED)
    _, line, files = list(given)[-1] if inspect.isgenerator(given) else given
    return line, {pathlib.Path(each).name: each for each in files}


@pytest.fixture
def canvas():
    """A painting of another size than the photograph."""
    levels = np.random.default_rng(0).integers(0, 256, [50, 70, 4], np.uint8)
    levels[..., 3] = 255
    return {"background": levels, "layers": [], "composite": levels}


def test_a_clients_lines_make_a_painting_of_another_size_that_was_snapped(
    served, canvas, tmp_path, monkeypatch
):
    values = [canvas, list(range(1, len(served.sizes))), 3, 5]
    line, files = drawn(paint_tab._drawer, served, tmp_path, *values)
    folder = pathlib.Path(files["given.png"]).parent
    made = by_client(line, folder, monkeypatch)
    assert len(made) == len(served.sizes) - 1 > 1
    for scale, picture in enumerate(made, 1):
        np.testing.assert_array_equal(picture, pixels(files[f"scale_{scale:02d}.png"]))


def test_a_clients_line_makes_what_was_inpainted(served, canvas, tmp_path, monkeypatch):
    hole = np.zeros([50, 70, 4], np.uint8)
    hole[20:30, 30:45, 3] = 255
    mask = {"background": None, "layers": [hole], "composite": None}
    values = ["inpaint", canvas, mask, 1, 2, 1.0, 5]
    line, files = drawn(edit_tab._drawer, served, tmp_path, *values)
    folder = pathlib.Path(files["given.png"]).parent
    (made,) = by_client(line, folder, monkeypatch)
    np.testing.assert_array_equal(made, pixels(files["scale_01_blended.png"]))


def test_a_clients_line_makes_an_enlargement_of_the_photograph(
    served, tmp_path, monkeypatch
):
    values = [None, 1.5, 0.8, 5]
    line, files = drawn(enlarge_tab._drawer, served, tmp_path, *values)
    folder = pathlib.Path(files["input.png"]).parent
    (made,) = by_client(line, folder, monkeypatch)
    np.testing.assert_array_equal(made, pixels(files["super_resolved.png"]))


class Photograph:
    """A server's answers, of a model of one photograph."""

    def __init__(self, height, width):
        self._size = height, width

    def metadata(self):
        return {"sample": None}

    def reconstruct(self):
        return np.zeros([1, *self._size, 3], np.uint8)


@pytest.mark.parametrize("size", [(300, 400), (250, 167), (20, 24), (40, 60)])
def test_a_served_models_finest_scale_is_its_photograph(size):
    model = ServedModel(Photograph(*size), "localhost:1", NAME)
    assert model.sizes[-1] == size == model.photograph.shape[1:3]
    assert min(model.sizes[0]) == min(25, *size)


def test_runs_are_named_and_opened(runs_dir):
    source = sources.Runs(runs_dir, lambda *_: [], launch.task)
    assert source.names() == ["rocket"]
    assert source.open("rocket").name == "rocket"
    assert source.open("rocket") is source.open("rocket")
    with pytest.raises(UserError, match="There is no run in .*/none any more"):
        source.open("none")
    for name in ("../rocket", "..", "a/b", ""):
        with pytest.raises(UserError, match="is no name for a run"):
            source.open(name)
