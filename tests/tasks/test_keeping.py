"""What samples keep is the photograph to the last bit, and the rest fits to it."""

import numpy as np
import pytest
from helpers import pixels, run
from PIL import Image
from pyramids import build
from scipy import ndimage
from task_commands import call

from singan_tf import images
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder
from singan_tf.tasks import keeping


def across(image, kept):
    """The mean difference of neighbours across the seam, and up to 5 pixels outside."""
    distances = ndimage.distance_transform_edt(~kept)
    means = []
    for ring in range(6):
        found = []
        for axis in (0, 1):
            seam = np.diff((distances <= ring).astype(int), axis=axis) != 0
            found.append(np.abs(np.diff(image[0], axis=axis)).mean(axis=-1)[seam])
        means.append(np.concatenate(found).mean())
    return np.array(means)


def everywhere(image):
    """The mean difference of neighbours."""
    return np.mean([np.abs(np.diff(image[0], axis=axis)).mean() for axis in (0, 1)])


def disk():
    y, x = np.mgrid[:54, :72]
    return np.hypot((y - 25) / 16, (x - 33) / 18) < 1


def test_the_seam_of_what_is_kept_is_no_edge(scene, patched):
    kept = disk()
    own = across(scene, kept)
    for seed in range(3):
        drawn = keeping.draw_around(patched, scene, kept, seed)
        np.testing.assert_array_equal(drawn[0, kept], scene[0, kept])
        assert (across(drawn, kept) < 1.25 * own).all()
        # Laid over a sample that knows nothing of it, it has one.
        pasted = patched.sample([seed]).numpy()
        assert np.abs(pasted - drawn)[0, ~kept].mean() > 0.02
        pasted[0, kept] = scene[0, kept]
        assert across(pasted, kept)[0] > 1.4 * own[0]


def test_a_grown_picture_has_no_edge_where_its_borders_were(scene, patched):
    layout, kept = keeping.grown(scene, keeping.Margins(30, 9, 14, 0))
    assert layout.shape == (1, 68, 111, 3)
    for seed in range(2):
        drawn = keeping.draw_around(patched, layout, kept, seed)
        np.testing.assert_array_equal(drawn[0, 14:, 30:-9], scene[0])
        assert (across(drawn, kept) < 1.25 * everywhere(scene)).all()
        # As lively as the photograph, rather than one colour.
        assert drawn[0, ~kept].std() > 0.6 * scene.std()


def test_what_grows_has_the_layout_of_the_photograph(make_stage):
    """Of a bright sky above dark ground, beyond each side."""
    model = build(make_stage, padding="reflect")
    for stage in model.stages[1:]:
        # As if trained: without noise and with nothing to add, a scale brings up.
        stage.generator.set_weights([0 * w for w in stage.generator.get_weights()])
    height, width = model.sizes[-1]
    scene = np.full([1, height, width, 3], 0.8, np.float32)
    scene[:, height // 2 :] = -0.8
    layout, kept = keeping.grown(scene, keeping.Margins(width, width, 0, 0))
    drawn = keeping.draw_around(model, layout, kept, seed=1, noise_scale=0.3)
    rows = drawn[0][:, ~kept[0]].mean(axis=(1, 2))
    assert (rows[: height // 4] > 0.5).all() and (rows[-height // 4 :] < -0.5).all()


@pytest.mark.parametrize("padding", ["zeros", "noise"])
def test_far_from_what_is_kept_a_sample_is_that_of_its_seed(make_stage, padding):
    model = build(make_stage, padding=padding)
    model.sizes = [(8, 60), (11, 82), (16, 120)]
    model.reconstruction_noise = None
    model.set_reconstruction_noise(3)
    photograph = np.random.default_rng(0).uniform(-1, 1, [1, 16, 120, 3])
    kept = np.zeros([16, 120], bool)
    kept[:, :20] = True
    photograph = photograph.astype(np.float32)
    drawn = keeping.draw_around(model, photograph, kept, 7)
    plain = model.sample([7]).numpy()
    np.testing.assert_array_equal(drawn[0, kept], photograph[0, kept])
    # As far as its convolutions see, at every scale.
    np.testing.assert_allclose(drawn[:, :, 70:], plain[:, :, 70:], atol=1e-5)
    assert (np.abs(drawn - plain)[:, :, 22:30] > 1e-3).any()


@pytest.mark.slow
def test_scales_that_are_trained_fit_to_what_is_kept(trained):
    singan, _ = loading.load(RunFolder(trained))
    photograph = images.read(RunFolder(trained).real(3))
    y, x = np.mgrid[: photograph.shape[1], : photograph.shape[2]]
    kept = (abs(x - 33) < 8) & (y > 8)
    layout, within = keeping.grown(photograph, keeping.Margins(20, 20, 0, 10))
    for seed in range(3):
        drawn = keeping.draw_around(singan, photograph, kept, seed)
        np.testing.assert_array_equal(drawn[0, kept], photograph[0, kept])
        pasted = singan.sample([seed]).numpy()
        assert np.abs(pasted - drawn)[0, ~kept].mean() > 0.02
        pasted[0, kept] = photograph[0, kept]
        assert across(drawn, kept).max() < across(pasted, kept)[0]
        assert across(drawn, kept)[0] < everywhere(photograph)
        drawn = keeping.draw_around(singan, layout, within, seed)
        np.testing.assert_array_equal(drawn[0, within], layout[0, within])
        assert (across(drawn, within) < 1.5 * across(layout, within).max()).all()


def test_scales_below_the_start_show_the_photograph(scene, patched):
    kept = disk()
    drawn = keeping.draw_around(patched, scene, kept, 0, start_scale=2)
    assert np.abs(drawn - scene).mean() < 0.1 * scene.std()


def test_the_command_keeps_the_pixels_of_the_photograph(capsys, tmp_path, finished):
    photograph = pixels(finished / "pyramid" / "02.png")
    kept = np.zeros(photograph.shape[:2], np.uint8)
    kept[4:20, 10:30] = 255
    Image.fromarray(kept).save(tmp_path / "keep.png")
    command = ["sample", f"--run_dir={finished}", f"--keep={tmp_path / 'keep.png'}"]
    command += [f"--output_dir={tmp_path / 'out'}", "--num_samples=2"]
    status, out, error = run(capsys, *command)
    assert status == 0, error
    assert "of the image is inside the mask keep.png" in out
    drawn = [pixels(tmp_path / f"out/seed_00000{n}.png") for n in (0, 1)]
    for image in drawn:
        np.testing.assert_array_equal(image[kept > 0], photograph[kept > 0])
        assert (image != photograph)[kept == 0].mean() > 0.9
    assert (drawn[0] != drawn[1])[kept == 0].mean() > 0.2
    arguments = call(tmp_path / "out")["arguments"]
    assert arguments["keep"] == str(tmp_path / "keep.png")


def test_the_command_grows_the_photograph_around_its_pixels(capsys, tmp_path, finished):
    photograph = pixels(finished / "pyramid" / "02.png")
    height, width, _ = photograph.shape
    command = ["outpaint", f"--run_dir={finished}", f"--output_dir={tmp_path}"]
    sides = ["--left=60", "--right=5", "--top=7", "--bottom=1"]
    status, out, error = run(capsys, *command, *sides, "--num_samples=2", "--seed=4")
    assert status == 0, error
    assert f"2 results of {width + 65}x{height + 8} pixels" in out
    drawn = [pixels(tmp_path / f"seed_00000{n}.png") for n in (4, 5)]
    for image in drawn:
        assert image.shape == (height + 8, width + 65, 3)
        np.testing.assert_array_equal(image[7:-1, 60:-5], photograph)
    assert (drawn[0] != drawn[1]).any()
