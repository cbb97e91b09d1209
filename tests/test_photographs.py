import numpy as np
import pytest
from helpers import refuse
from PIL import Image
from shapes import disk

from singan_tf import config, images, inside, photographs
from singan_tf.errors import UsageError, UserError

INSIDE = disk(20, 26, 9, 12, 6)


@pytest.fixture
def colours():
    return np.random.default_rng(0).integers(0, 256, (20, 26, 3), np.uint8)


def save(path, colours, alpha=None):
    layers = colours if alpha is None else np.dstack([colours, alpha])
    Image.fromarray(layers).save(path)
    return path


def save_mask(path, mask):
    Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(path)
    return path


def test_an_opaque_photograph_is_as_it_was(tmp_path, colours):
    plain = save(tmp_path / "a.png", colours)
    opaque = save(tmp_path / "b.png", colours, np.full([20, 26], 255, np.uint8))
    full = save_mask(tmp_path / "mask.png", np.ones([20, 26], bool))
    for path, mask in ((plain, None), (opaque, None), (plain, full)):
        image, counts = photographs.read(path, 3, mask)
        assert counts is None
        np.testing.assert_array_equal(image, images.read(plain))


@pytest.mark.parametrize("channels", [1, 3])
def test_outside_are_means_of_colours_inside(tmp_path, colours, channels):
    path = save(tmp_path / "a.png", colours)
    mask = save_mask(tmp_path / "mask.png", INSIDE)
    image, counts = photographs.read(path, channels, mask)
    np.testing.assert_array_equal(counts, INSIDE)
    plain = images.read(path, channels)
    np.testing.assert_array_equal(image[0][INSIDE], plain[0][INSIDE])
    # Means of what is inside, and nothing else.
    chosen = plain[0][INSIDE]
    assert (image >= chosen.min(axis=0)).all() and (image <= chosen.max(axis=0)).all()
    assert image.dtype == np.float32 and image.std() > 0.1


def test_the_filling_goes_on_from_the_edge_and_is_smooth_far_from_it():
    mask = disk(64, 80, 30, 25, 20)
    rows = np.linspace(-1, 1, 64, dtype=np.float32)[:, np.newaxis]
    image = np.broadcast_to(rows, [64, 80])[np.newaxis, :, :, np.newaxis]
    filled = inside.fill(image, mask)[0, :, :, 0]
    np.testing.assert_array_equal(filled[mask], image[0, :, :, 0][mask])
    steps = np.abs(np.diff(filled, axis=0)), np.abs(np.diff(filled, axis=1))
    assert max(each.max() for each in steps) < 0.15
    # A single pixel, wherever it is, is everywhere.
    one = np.zeros([5, 7], bool)
    one[4, 6] = True
    dots = np.random.default_rng(0).uniform(-1, 1, (1, 5, 7, 3)).astype(np.float32)
    expected = np.broadcast_to(dots[:, 4:, 6:], dots.shape)
    np.testing.assert_allclose(inside.fill(dots, one), expected, rtol=1e-6)


def test_what_is_transparent_is_outside_or_white(tmp_path, colours):
    alpha = np.where(INSIDE, 140, 120).astype(np.uint8)
    path = save(tmp_path / "a.png", colours, alpha)
    image, counts = photographs.read(path, 3)
    np.testing.assert_array_equal(counts, INSIDE)
    # Straight colours, not mixed with white.
    np.testing.assert_array_equal(images.to_uint8(image)[0][INSIDE], colours[INSIDE])
    white, counts = photographs.read(path, 3, transparent="white")
    assert counts is None
    np.testing.assert_array_equal(white, images.read(path))


def test_what_is_outside_changes_nothing(tmp_path, colours):
    mask = save_mask(tmp_path / "mask.png", INSIDE)
    found = []
    for seed in (1, 2):
        other = np.random.default_rng(seed).integers(0, 256, colours.shape, np.uint8)
        other = np.where(INSIDE[:, :, np.newaxis], colours, other)
        found.append(photographs.read(save(tmp_path / "a.png", other), 3, mask).image)
    np.testing.assert_array_equal(*found)


def test_a_mask_and_transparency_both_count(tmp_path, colours):
    left = np.arange(26) < 13
    alpha = np.where(left, 255, 0) * np.ones([20, 1])
    path = save(tmp_path / "a.png", colours, alpha.astype(np.uint8))
    mask = save_mask(tmp_path / "mask.png", INSIDE)
    counts = photographs.read(path, 3, mask).inside
    np.testing.assert_array_equal(counts, INSIDE & left)
    counts = photographs.read(path, 3, INSIDE, transparent="white").inside
    np.testing.assert_array_equal(counts, INSIDE)


def test_masks_that_do_not_fit_are_refused(tmp_path, colours):
    path = save(tmp_path / "a.png", colours)
    small = save_mask(tmp_path / "small.png", INSIDE[:10])
    empty = save_mask(tmp_path / "empty.png", INSIDE & False)
    clear = save(tmp_path / "clear.png", colours, np.zeros([20, 26], np.uint8))
    right = np.broadcast_to(np.where(np.arange(26) > 20, 255, 0), [20, 26])
    beside = save(tmp_path / "beside.png", colours, right.astype(np.uint8))
    flat = save(tmp_path / "flat.png", np.where(INSIDE[..., None], 9, colours))
    mask = save_mask(tmp_path / "mask.png", INSIDE)
    for photograph, given, words in (
        (path, small, ("26x10", "26x20", "small.png")),
        (path, empty, ()),
        (clear, None, ("transparent everywhere", "transparent=white")),
        (beside, mask, ("nothing that is opaque", "mask.png", "transparent=white")),
        (flat, mask, ("one colour",)),
    ):
        named = empty if given == empty else photograph
        refuse(lambda _: photographs.read(photograph, 3, given), named, *words)  # noqa: B023


@pytest.mark.parametrize("side", [1, 3, 4, 11, 30])
def test_squares_lie_inside_as_a_whole(side):
    mask = np.random.default_rng(0).random((20, 26)) < 0.9
    found = inside.whole(mask, side)
    shape = [max(0, length - side + 1) for length in mask.shape]
    expected = np.array(
        [
            mask[row : row + side, column : column + side].all()
            for row, column in np.ndindex(*shape)
        ]
    ).reshape(shape)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("size", [(20, 26), (10, 13), (7, 9), (13, 25), (1, 1)])
def test_at_another_size_a_pixel_is_inside_by_its_larger_half(size):
    mask = np.random.default_rng(0).random((20, 26)) < 0.6
    # Every pixel as so many that they fill those of the other size exactly.
    fine = np.kron(mask, np.ones(size))
    blocks = fine.reshape(size[0], 20, size[1], 26)
    expected = blocks.mean(axis=(1, 3)) >= 0.5 - 1e-9
    np.testing.assert_array_equal(inside.resized(mask, size), expected)


def settled(**settings):
    settings = {"min_size": 13, "num_scales": 2, **settings}
    return config.settle(config.from_settings(settings), SIZES)


SIZES = [(13, 17), (20, 26)]


def test_a_mask_has_to_leave_enough_at_every_scale():
    inside.check(settled(patch_scales=2), SIZES, np.ones([20, 26], bool))
    with pytest.raises(UserError, match="scale 0, of 17x13 pixels.* 11x11 pixels"):
        inside.check(settled(), SIZES, INSIDE)
    with pytest.raises(UserError, match="scale 0, of 17x13 pixels.* 7x7 pixels"):
        inside.check(settled(patch_scales=2), SIZES, disk(20, 26, 9, 12, 5))
    inside.check(settled(patch_scales=2), SIZES, disk(20, 26, 9, 12, 8))
    sides = [inside.seen_side(settled(patch_scales=1), scale) for scale in (0, 1)]
    assert sides == [7, 11]
    assert inside.seen_side(settled(adversary="frechet", patch_size=9), 0) == 9
    both = settled(adversary="critic+sliced_wasserstein", patch_size=5)
    assert inside.seen_side(both, 0) == 11


@pytest.mark.parametrize(
    "setting",
    [
        {"generator_normalization": "instance"},
        {"critic_normalization": "instance"},
        {"texture_weight": 1.0, "vgg_weights": "somewhere"},
        {"patch_stride": 2},
    ],
)
def test_settings_that_see_whole_images_do_not_go_with_a_mask(setting):
    name = next(iter(setting))
    with pytest.raises(UsageError, match=f"{name}=.* train_mask"):
        inside.check(settled(**setting), SIZES, INSIDE)


def test_the_images_of_a_folder_are_its_files_of_images_that_are_not_hidden(tmp_path):
    for name in ("b.PNG", "a.avif", "c.jpg", ".c.png", "notes.txt", "sheet.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = photographs.in_folder(tmp_path, besides="sheet.png")
    assert [path.name for path in found] == ["a.avif", "b.PNG", "c.jpg"]
    with pytest.raises(UserError, match="holds no image.*avif"):
        photographs.in_folder(tmp_path / "folder.png")
