"""The tabs of the studio without a browser: what their parts call, is called here."""

import inspect
import io
import pathlib
import re
import shlex
import threading
import types

import gradio as gr
import numpy as np
import profiles
import pytest
from gradio.data_classes import ImageData
from helpers import contents, pixels
from PIL import Image

import main
from singan_tf import images
from singan_tf.cli import launch
from singan_tf.runs.folder import RunFolder
from singan_tf.studio import models, parts, sources
from singan_tf.studio import page as page_lib
from singan_tf.tasks import inputs, maskings

ASKED = types.SimpleNamespace(session_hash="somebody")


class Studio:
    """A page, and what its parts call."""

    def __init__(self, source, root):
        self.source = source
        self.page = page_lib.Page(source, root)
        self.blocks = page_lib.build(self.page)

    def listener(self, part, event="click"):
        """What is called by a part that has an id, or a button of that text."""
        (found,) = (
            fn
            for fn in self.blocks.fns.values()
            for target, name in fn.targets
            if name == event and self._named(target, part)
        )
        return found

    def _named(self, target, part):
        block = self.blocks.blocks.get(target)
        if isinstance(part, type):
            return isinstance(block, part)
        return part == getattr(block, "elem_id", None) or (
            isinstance(block, gr.Button) and block.value == part
        )

    def press(self, part, *values):
        """What the last of the updates gives, after a click."""
        called = self.listener(part).fn
        given = called(*values, **self._request(called))
        return list(given)[-1] if inspect.isgenerator(given) else given

    def _request(self, called):
        asks = "request" in inspect.signature(called).parameters
        return {"request": ASKED} if asks else {}


@pytest.fixture(scope="module")
def model(finished):
    return models.RunModel(RunFolder(finished), launch.task)


@pytest.fixture
def studio(model, tmp_path):
    """A studio of one run."""
    return Studio(sources.One(model), tmp_path / "sessions")


@pytest.fixture
def trains(runs_dir, tmp_path):
    """A studio of a folder of runs, whose trainings end at once."""
    return Studio(
        sources.Runs(runs_dir, lambda *_: ["true"], launch.task), tmp_path / "sessions"
    )


def refused(call, *words):
    """A call must be refused by one sentence that has the words."""
    with pytest.raises(gr.Error) as caught:
        call()
    message = caught.value.message
    assert message.endswith(".") and "\n" not in message
    for word in words:
        assert word in message


def layer(levels, alpha=255):
    """uint8 [H, W, 4], as an editor gives pictures."""
    alphas = np.broadcast_to(np.uint8(alpha), levels.shape[:2])
    return np.concatenate([levels, alphas[..., np.newaxis]], axis=2)


def edited(background, *strokes):
    """What an editor gives when boxes of one colour were brushed over a picture."""
    composite = background.copy()
    for box in strokes:
        composite[box] = 255 - composite[box]
    return {
        "background": layer(background),
        "layers": [],
        "composite": layer(composite),
    }


def masked(*layers):
    """What the editor of a mask gives."""
    return {"background": None, "layers": list(layers), "composite": None}


def by_name(files):
    return {pathlib.Path(each).name: each for each in files}


# The training of photographs.


@pytest.fixture
def upload(photograph, tmp_path):
    """Uploads a photograph, brighter by some levels, under the name image.png."""

    def make(brighter):
        folder = tmp_path / f"upload_{brighter}"
        folder.mkdir(exist_ok=True)
        levels = np.minimum(pixels(photograph), 200) + np.uint8(brighter)
        Image.fromarray(levels).save(folder / "image.png")
        return str(folder / "image.png")

    return make


def test_a_second_photograph_of_the_same_file_name_is_refused_and_copied_nowhere(
    trains, runs_dir, upload
):
    first = trains.press("train-start", upload(0), "", "smoke", "")
    assert first[-1] == "image"
    trains.source.trainings.stop("image")
    (runs_dir / "image").mkdir()
    before = contents(runs_dir)
    for call in (
        [upload(5), "", "smoke", ""],
        [upload(0), "", "quick", ""],
        [None, "coffee", "smoke", "image"],
        [None, "coffee", "smoke", "rocket"],
    ):
        refused(lambda call=call: trains.press("train-start", *call), "another name")
    assert contents(runs_dir) == before
    assert trains.press("train-start", upload(0), "", "smoke", "")[-1] == "image"


def test_a_run_that_ended_in_an_error_is_not_called_trained(trains, runs_dir):
    look = trains.listener("name", "blur").fn
    assert look("rocket")[0] == "rocket is trained: choose a tab."
    (runs_dir / "rocket.error").write_text("There is no space left.")
    assert look("rocket")[0] == "There is no space left."


def test_the_timer_looks_at_the_watched_run_and_writes_no_name(trains):
    tick = trains.listener(gr.Timer, "tick")
    (watched,) = tick.inputs
    assert isinstance(watched, gr.State)
    assert "name" not in [each.elem_id for each in tick.outputs]
    assert watched not in tick.outputs
    updates = dict(zip(tick.outputs, tick.fn("rocket")))
    assert len(updates) == len(tick.outputs)
    begun = trains.listener("train-start")
    assert watched in begun.outputs and begun.outputs[-1].elem_id == "name"


def test_a_name_that_has_no_run_changes_nothing(trains):
    typed = trains.listener("name", "blur")
    assert all(each == gr.skip() for each in typed.fn("roc"))
    named = dict(zip(typed.outputs, typed.fn("rocket")))
    assert "name" not in [each.elem_id for each in named]
    (watched,) = (each for each in named if isinstance(each, gr.State))
    assert named[watched] == "rocket"


def test_stop_ends_what_is_shown_though_another_name_is_typed(runs_dir, tmp_path):
    sleeping = Studio(
        sources.Runs(runs_dir, lambda *_: ["sleep", "60"], launch.task), tmp_path / "s"
    )
    trainings = sleeping.source.trainings
    trainings.start("coffee", "begun", "smoke")
    trainings.start("coffee", "second", "smoke")
    sleeping.press("train-stop", "next", "begun")
    assert not trainings.is_running("begun") and trainings.is_running("second")
    sleeping.press("train-stop", "second", "begun")
    assert not trainings.is_running("second")


def test_a_photograph_is_refused_and_shown_as_training_takes_it(trains, tmp_path):
    path = tmp_path / "one_colour.png"
    levels = np.full([40, 60, 3], 90, np.uint8)
    opaque = np.zeros([40, 60], np.uint8)
    opaque[:20] = 255
    # On white there would be two colours.
    Image.fromarray(layer(levels, opaque)).save(path)
    command = ["main.py", "train", f"--image={path}", "--preset=smoke", "--dry_run"]
    assert main.main([*command, f"--run_dir={tmp_path / 'run'}"]) == 1
    begin = ["train-start", str(path), "", "smoke", "one_colour"]
    refused(lambda: trains.press(*begin), "one colour")


# Drawing.


def test_everything_that_draws_waits_its_turn_and_nothing_that_looks_does(trains):
    blocks = trains.blocks.queue(default_concurrency_limit=1)
    for fn in blocks.fns.values():
        blocks._queue.create_event_queue_for_fn(fn)
    limits = {
        name: queue.concurrency_limit
        for name, queue in blocks._queue.event_queue_per_concurrency_id.items()
    }
    assert limits["draw"] == 1
    drawing = [
        trains.listener(name)
        for name in ("draw", "paint", "All scales", "blend", "enlarge", "animate")
    ]
    # What follows an event by itself, and gives nothing: the warm-up.
    (warm_up,) = (
        fn
        for fn in blocks.fns.values()
        if fn.trigger_after is not None and fn.fn and not fn.outputs
    )
    assert {fn for fn in blocks.fns.values() if fn.concurrency_id == "draw"} == {
        *drawing,
        warm_up,
    }
    for part, event in [("name", "blur"), ("name", "submit"), (gr.Timer, "tick")]:
        assert limits[trains.listener(part, event).concurrency_id] is None


def test_two_who_open_a_run_together_load_it_once(runs_dir):
    source = sources.Runs(runs_dir, lambda *_: [], launch.task)
    together, opened = threading.Barrier(2), []

    def open_run():
        together.wait()
        opened.append(source.open("rocket"))

    threads = [threading.Thread(target=open_run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened[0] is opened[1]


class Counting:
    """A model that counts the frames that it draws."""

    def __init__(self, model):
        self._model, self.drawn = model, 0

    def __getattr__(self, name):
        return getattr(self._model, name)

    def animate(self, walk):
        for frame in self._model.animate(walk):
            self.drawn += 1
            yield frame


def test_an_animation_that_is_cancelled_draws_no_further(model, tmp_path):
    counting = Counting(model)
    studio = Studio(sources.One(counting), tmp_path)
    draw = studio.listener("animate")
    # Gradio closes the generator of what is cancelled, and has to be told which it is.
    assert draw.types_generator and draw.tracks_progress
    cancels = [fn.cancels for fn in studio.blocks.fns.values() if fn.cancels]
    assert [draw._id] in cancels
    going = draw.fn("rocket", 1, 0.1, 0.9, 50, 0, ASKED)
    assert next(going) == (gr.skip(), gr.skip(), gr.skip())
    next(going)
    going.close()
    assert counting.drawn == 2
    shown, line, files = studio.press("animate", "rocket", 1, 0.1, 0.9, 3, 0)
    assert counting.drawn == 5
    assert shown in files and "--frames=3" in line


@pytest.mark.parametrize("seed", [None, -1, 2**62 + 1])
def test_a_seed_that_the_commands_refuse_is_one_sentence(studio, model, seed):
    picture = edited(parts.levels(model.photograph), np.s_[5:9, 5:9])
    for press in (
        ["draw", "rocket", seed, 1, None, None, 0, 1.0, False],
        ["paint", "rocket", picture, 1, 0, seed],
        ["All scales", "rocket", picture, 0, seed],
        ["blend", "rocket", "edit", picture, None, 1, 0, 0.0, seed],
        ["enlarge", "rocket", None, 1.5, 0.8, seed],
        ["animate", "rocket", 1, 0.1, 0.9, 2, seed],
    ):
        refused(lambda press=press: studio.press(*press), "seed", "0 to 2^62")


def test_sides_that_are_not_given_are_the_photographs(studio, model):
    for empty in (None, 0):
        _, line, files = studio.press("draw", "rocket", 0, 1, empty, empty, 0, 1, False)
        assert pixels(files[0]).shape[:2] == model.sizes[-1]
        height, width = model.sizes[-1]
        assert f"--height={height} --width={width} " in line


def test_sides_that_the_commands_refuse_are_one_sentence(
    studio, model, finished, tmp_path
):
    full, coarsest = model.sizes[-1][0], model.sizes[0][0]
    least = inputs.least_side(full, coarsest)
    for height, is_drawn in ((least, True), (least - 1, False)):
        out = tmp_path / f"out_{height}"
        command = ["main.py", "sample", f"--run_dir={finished}", "--num_samples=1"]
        command += [f"--height={height}", f"--width={model.sizes[-1][1]}"]
        status = main.main([*command, f"--output_dir={out}"])
        assert (status == 0) == is_drawn
        press = ["draw", "rocket", 0, 1, height, None, 0, 1.0]
        if is_drawn:
            studio.press(*press, False)
        else:
            refused(lambda press=press: studio.press(*press, False), f"x{height} ")
            refused(lambda press=press: studio.press(*press, True), f"x{height} ")
    small = tmp_path / "small.png"
    Image.fromarray(np.zeros([least - 1, 40, 3], np.uint8)).save(small)
    refused(
        lambda: studio.press("enlarge", "rocket", str(small), 2, 0.8, 0), "40x", "least"
    )


# Pictures that come in.


def test_what_is_transparent_in_an_editor_lies_on_white_as_in_a_file():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, [40, 50, 4], np.uint8)
    picture[:10, :, 3], picture[10:20, :, 3] = 0, 255
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    shown = parts.composite({"composite": picture})
    white = Image.new("RGBA", (50, 40), "white")
    white.alpha_composite(Image.fromarray(picture))
    np.testing.assert_allclose(shown, np.asarray(white)[..., :3].astype(int), atol=1)
    assert (shown[:10] == 255).all()
    np.testing.assert_array_equal(shown[10:20], picture[10:20, :, :3])


def test_a_stroke_over_a_sample_is_all_of_the_mask(studio, model):
    sample = images.to_uint8(model.sample(7, 0, model.sizes[-1], 1.0))[0]
    box = np.s_[10:16, 20:30]
    press = ["blend", "rocket", "edit"]
    _, _, files = studio.press(*press, edited(sample, box), None, 1, 0, 0.0, 0)
    expected = np.zeros(sample.shape[:2], np.uint8)
    expected[box] = 255
    np.testing.assert_array_equal(pixels(by_name(files)["mask.png"]), expected)


def test_an_edit_of_another_program_is_compared_with_the_photograph(studio, model):
    photograph = parts.levels(model.photograph)
    box = np.s_[10:16, 20:30]
    uploaded = edited(edited(photograph, box)["composite"][..., :3])
    press = ["blend", "rocket", "edit"]
    _, _, files = studio.press(*press, uploaded, None, 1, 0, 0.0, 0)
    expected = np.zeros(photograph.shape[:2], np.uint8)
    expected[box] = 255
    np.testing.assert_array_equal(pixels(by_name(files)["mask.png"]), expected)
    unchanged = edited(photograph)
    refused(lambda: studio.press(*press, unchanged, None, 1, 0, 0.0, 0), "Nothing was")


def test_a_mask_is_what_was_brushed_on_any_of_its_layers(studio, model):
    photograph = parts.levels(model.photograph)
    alphas = np.zeros([3, *photograph.shape[:2]], np.uint8)
    alphas[1, 5:9, 5:9], alphas[2, 20:25, 30:40] = 255, 60
    mask = masked(*(layer(np.zeros_like(photograph), each) for each in alphas))
    press = ["blend", "rocket", "edit", edited(photograph), mask]
    _, _, files = studio.press(*press, 1, 0, 0.0, 0)
    np.testing.assert_array_equal(
        pixels(by_name(files)["mask.png"]) == 255, (alphas > 0).any(axis=0)
    )


@pytest.mark.parametrize("transparent", [False, True])
def test_a_picture_that_is_loaded_as_the_mask_is_the_mask(
    studio, model, tmp_path, transparent
):
    photograph = parts.levels(model.photograph)
    inside = np.zeros(photograph.shape[:2], bool)
    inside[5:15, 10:30] = True
    if transparent:
        loaded = layer(np.full_like(photograph, 30), 255 * inside)
    else:
        loaded = layer(np.repeat(255 * inside[..., None], 3, 2).astype(np.uint8))
    drawn = loaded.copy()
    drawn[20:25, 40:45] = 255
    inside[20:25, 40:45] = True
    Image.fromarray(np.uint8(255 * inside)).save(tmp_path / "mask.png")
    Image.fromarray(photograph).save(tmp_path / "input.png")
    mask = {"background": loaded, "layers": [], "composite": drawn}
    press = ["blend", "rocket", "edit", edited(photograph), mask]
    _, line, files = studio.press(*press, 1, 3, 2.0, 0)
    masking = maskings.MASKINGS["edit"]._replace(radius=3, sigma=2.0)
    paths = [tmp_path / name for name in ("input.png", "mask.png")]
    _, softened, _ = models.read_masked(model, *paths, masking)
    images.write(tmp_path / "softened.png", 2 * softened[..., None] - 1)
    np.testing.assert_array_equal(
        pixels(by_name(files)[models.SOFTENED]), pixels(tmp_path / "softened.png")
    )
    assert "--mask=mask.png" in line


def test_a_picture_that_is_loaded_to_brush_over_is_no_mask(studio, model):
    picture = 255 - parts.levels(model.photograph)
    inside = np.zeros(picture.shape[:2], bool)
    inside[20:25, 40:45] = True
    brushed = layer(np.full_like(picture, 255), 255 * inside)
    mask = {**edited(picture, np.s_[20:25, 40:45]), "layers": [brushed]}
    press = ["blend", "rocket", "edit", edited(picture), mask]
    _, _, files = studio.press(*press, 1, 0, 0.0, 0)
    np.testing.assert_array_equal(pixels(by_name(files)["mask.png"]) == 255, inside)


def palette_gif(path, levels):
    Image.fromarray(levels).quantize(16).save(path)


def sixteen_bits(path, levels):
    Image.fromarray(levels[..., 0].astype(np.uint16) * 257).save(path)


def transparent(path, levels):
    alpha = np.zeros(levels.shape[:2], np.uint8)
    alpha[::2] = 255
    Image.fromarray(layer(levels, alpha)).save(path)


def turned(path, levels):
    orientation = Image.Exif()
    orientation[274] = 6
    Image.fromarray(levels).save(path, exif=orientation)


def with_a_profile(path, levels):
    profile = profiles.rgb_profile("P3", profiles.DISPLAY_P3, profiles.srgb_to_linear)
    Image.fromarray(levels).save(path, icc_profile=profile)


@pytest.mark.parametrize(
    ("name", "save"),
    [
        ("palette.gif", palette_gif),
        ("sixteen.png", sixteen_bits),
        ("transparent.png", transparent),
        ("turned.jpg", turned),
        ("profile.png", with_a_profile),
    ],
)
def test_a_picture_to_enlarge_is_read_as_the_commands_read_it(
    studio, model, tmp_path, name, save
):
    levels = parts.levels(model.photograph)
    path = tmp_path / name
    save(path, levels)
    field = studio.listener("enlarge").inputs[1]
    upload = field.preprocess(ImageData(path=str(path), orig_name=name))
    _, _, files = studio.press("enlarge", "rocket", upload, 1.2, 0.8, 0)
    read = images.to_uint8(images.read(path)[0])
    enlarged = pathlib.Path(files[-1]).with_name("input.png")
    np.testing.assert_array_equal(pixels(enlarged), read)


# What comes out.


def test_the_line_of_an_enlargement_makes_it_from_the_files_beside_it(
    studio, model, tmp_path, monkeypatch
):
    _, line, files = studio.press("enlarge", "rocket", None, 1.5, 0.6, 2)
    named = by_name(files)
    monkeypatch.chdir(pathlib.Path(named["input.png"]).parent)
    program, script, *words = shlex.split(line)
    assert "--input=input.png" in words
    assert main.main(["main.py", *words, f"--output_dir={tmp_path / 'out'}"]) == 0
    for name in ("super_resolved.png", "bicubic.png"):
        np.testing.assert_array_equal(
            pixels(named[name]), pixels(tmp_path / "out" / name)
        )


def test_a_session_has_one_folder_below_the_root_whatever_it_is_called(tmp_path):
    page = page_lib.Page(None, tmp_path / "root" / "sessions")
    names = ["../../outside", str(tmp_path / "elsewhere"), ".", "..", "", "a\0b", None]
    asked = [types.SimpleNamespace(session_hash=name) for name in names]
    folders = [page.folder(each) for each in asked]
    assert {each.parent.parent for each in folders} == {page.root}
    assert len({each.parent for each in folders}) == len(names)
    assert page.folder(asked[0]).parent == folders[0].parent
    assert all(re.fullmatch("[0-9a-f]{64}", each.parent.name) for each in folders)
    assert [each.name for each in tmp_path.iterdir()] == ["root"]
    page.forget(asked[2])
    assert [each.exists() for each in folders] == [name != "." for name in names]
