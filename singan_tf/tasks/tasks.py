"""The tasks' way in and out: inputs, masks and scales checked, results kept.

Every command on a finished run opens it here, before anything is computed, and
leaves its results, a contact sheet and, last, a call.json that says how they were
made. What a person should know of an input (that it was resized, how much of it a mask
has inside) is a note: printed, and kept in call.json.
"""

import math
import pathlib
import shutil
from typing import Any, Callable, NamedTuple, Optional

import numpy as np
import tensorflow as tf
from scipy import ndimage
from skimage import measure, metrics

import singan_tf
from singan_tf import images
from singan_tf.config import Config
from singan_tf.errors import UserError, printable
from singan_tf.model import networks, stages
from singan_tf.model.singan import SinGAN, bring_up
from singan_tf.runs import checkpoint
from singan_tf.runs.monitor import Monitor
from singan_tf.tasks import manipulation
from singan_tf.training import distribution, loop, retraining

SHEET_NAME = "contact_sheet.png"
# What JPEG leaves beside black and white, of a mask's full range.
MASK_NOISE = 16 / 255
# The folder of the stages that paint sketches.
SKETCHED = "sketched"

# The highest number of a class in a mask; more than that is a brightness.
_HIGHEST_CLASS = 63
# The most colours of a mask that stand for classes, as in a palette.
_MOST_CLASSES = 256
# Around a hole, so many pixels of the picture are smeared with its colour: JPEG keeps
# colours for two pixels together, and brushes have soft edges.
_SMEARED = 2
# Of a quantized painting, as in the reference code.
_PAINT_COLOURS = 5
# Random samples whose sketches are painted in training, beside the photograph's.
_SKETCHED_SAMPLES = 15


class Task(NamedTuple):
    """A finished run, and the folder for what a command makes with it.

    Attributes:
        run_dir: The run; only ever read.
        output_dir: Where results go; made by the first of them.
        singan: The run's trained pyramid.
        config: The run's configuration.
        notes: What a person should know of the inputs, in sentences.
    """

    run_dir: pathlib.Path
    output_dir: pathlib.Path
    singan: SinGAN
    config: Config
    notes: list[str]

    @property
    def last(self) -> int:
        """The finest scale."""
        return len(self.singan.sizes) - 1

    @property
    def photograph(self) -> np.ndarray:
        """The photograph at the finest scale, float32 [1, H, W, C] in [-1, 1]."""
        path = self.run_dir / "pyramid" / f"{self.last:02d}.png"
        return images.read(path, self.singan.channels)

    def note(self, sentence: str) -> None:
        """Prints a sentence, and keeps it for call.json."""
        self.notes.append(sentence)
        print(printable(sentence))

    def write(self, name: str, image: np.ndarray) -> None:
        """Writes a result: [1, H, W, C], [H, W, C] or a mask [H, W, 1]."""
        images.write(self.output_dir / name, image)

    def source(self) -> dict[str, Any]:
        """The run's identity, for call.json."""
        photograph = checkpoint.read_run(self.run_dir)[1]
        return {
            "name": self.run_dir.resolve().name,
            "image": photograph.name,
            "image_sha256": photograph.sha256,
            "config_sha256": images.sha256(self.run_dir / "config.json"),
        }


def write_results(
    output_dir: pathlib.Path,
    cells: dict[str, np.ndarray],
    call: dict[str, Any],
) -> pathlib.Path:
    """Writes contact_sheet.png and call.json, the last files of a command.

    Args:
        output_dir: Where to.
        cells: Images of the sheet by caption, each [1, H, W, C] or [H, W, C].
        call: What was done, JSON values by name; the version is added.

    Returns:
        The sheet's path.
    """
    path = output_dir / SHEET_NAME
    images.write(path, images.contact_sheet(list(cells.values()), list(cells)))
    call = {"version": singan_tf.__version__, **call}
    checkpoint.write_json(output_dir / "call.json", call)
    return path


def open_task(run_dir: pathlib.Path, output_dir: pathlib.Path) -> Task:
    """Loads a finished run.

    Args:
        run_dir: The run.
        output_dir: Where results will go.

    Raises:
        UserError: if there is no run, it is damaged or it is not finished.
    """
    singan, config = checkpoint.load(run_dir)
    return Task(run_dir, output_dir, singan, config, [])


def read_input(task: Task, name: str, keep_size: bool) -> np.ndarray:
    """Reads the image that a task works on, and notes at which size.

    Args:
        task: The opened task.
        name: A path, or the name of a photograph that scikit-image carries.
        keep_size: Whether it keeps its size, rather than take the size of the
            run's finest scale.

    Returns:
        float32 [1, H, W, C] in [-1, 1].

    Raises:
        UserError: if it cannot be read, or is too small for the run.
    """
    path = images.resolve(name)
    image = images.read(path, task.singan.channels)
    return _brought_to(image, _input_size(task, path, image.shape[1:3], keep_size))


def _input_size(
    task: Task, path: pathlib.Path, size: tuple[int, int], keep_size: bool
) -> tuple[int, int]:
    """The size that `read_input` brings an image to, noted; see there."""
    finest = task.singan.sizes[-1]
    if keep_size:
        for side, full, coarsest in zip(size, finest, task.singan.sizes[0]):
            least = least_side(full, coarsest)
            if side < least:
                raise UserError(
                    f"{path} is {_text(size)} pixels, but with this run a side must "
                    f"have at least {least}; use a larger image."
                )
        task.note(f"{path.name} keeps its size of {_text(size)} pixels.")
        return size
    if size == finest:
        task.note(f"{path.name} has the run's size of {_text(size)} pixels.")
    else:
        task.note(
            f"{path.name} was resized from {_text(size)} to the run's {_text(finest)} "
            "pixels (--keep_size keeps its size)."
        )
    return finest


def _brought_to(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if image.shape[1:3] == tuple(size):
        return image
    return bring_up(tf.constant(image), size).numpy()


def least_side(full: int, coarsest: int) -> int:
    """The shortest side of an image at the finest scale, in pixels.

    At the coarsest scale, there must be one pixel more than padding mirrors.

    Args:
        full: The run's side at the finest scale.
        coarsest: The run's side at the coarsest scale.
    """
    return -(-full * (networks.MARGIN + 1) // coarsest)


class Masking(NamedTuple):
    """What becomes of a mask and of what it covers.

    Attributes:
        radius: The radius in pixels of the disk that widens it; see
            `manipulation.soften_mask`.
        sigma: The sigma in pixels of the blur. With both 0 the mask is used as it is,
            greys included; otherwise it is cut at half before.
        fill: Whether it is a hole, to be filled from the pixels around it.
    """

    radius: int
    sigma: float
    fill: bool


def read_masked(
    task: Task,
    name: Optional[str],
    mask_name: str,
    keep_size: bool,
    masking: Masking,
) -> tuple[np.ndarray, np.ndarray]:
    """Reads an image and its mask, and fills the hole if it is one.

    All that looks at thin things happens at the picture's own size: only then are both
    brought to the size that the run works at, the mask so that whatever it touches is
    inside.

    Args:
        task: The opened task.
        name: As for `read_input`; None for the run's photograph.
        mask_name: As for `read_mask`.
        keep_size: As for `read_input`.
        masking: What becomes of the mask.

    Returns:
        The image, float32 [1, H, W, C] in [-1, 1], and the softened mask, float32
        [H, W] in [0, 1].

    Raises:
        UserError: as `read_input` and `read_mask`, or if a hole is the whole image.
    """
    if name is None:
        image = task.photograph
        size = image.shape[1:3]
    else:
        path = images.resolve(name)
        image = images.read(path, task.singan.channels)
        size = _input_size(task, path, image.shape[1:3], keep_size)
    exact = masking.radius == masking.sigma == 0
    read = read_mask(task, mask_name, exact)
    mask = manipulation.resize_mask(read, *size)
    if masking.fill:
        hole = manipulation.resize_mask(read, *image.shape[1:3])
        if hole.all():
            raise UserError(
                f"--mask={mask_name} covers the whole image, which leaves nothing to "
                "fill it from; leave some of the image out of it."
            )
        scales = np.divide(size, image.shape[1:3])
        image = _filled(image, hole, masking.radius / max(scales))
    _note_mask(task, images.resolve(mask_name).name, read.shape, mask)
    softened = manipulation.soften_mask(mask, masking.radius, masking.sigma)
    return _brought_to(image, size), softened


def _filled(image: np.ndarray, mask: np.ndarray, room: float) -> np.ndarray:
    """Fills a hole, from pixels that nothing of it is smeared over.

    Args:
        image: float32 [1, H, W, C].
        mask: float32 [H, W] in [0, 1]: how much of the fill is laid in.
        room: How far from the mask pixels may change, too.
    """
    hole = _widened(mask, _SMEARED) > 0
    if hole.all():
        hole = mask > 0
    # Squares of pixels, but within a disk.
    laid_in = _widened(mask, min(_SMEARED, int(room / math.sqrt(2))))
    return manipulation.blend(image, manipulation.fill_hole(image, hole), laid_in)


def _widened(mask: np.ndarray, pixels: int) -> np.ndarray:
    return ndimage.maximum_filter(mask, 2 * pixels + 1)


def _note_mask(task: Task, name: str, size: tuple[int, int], mask: np.ndarray) -> None:
    """Notes if a mask was resized, and always how much is inside."""
    if mask.shape != tuple(size):
        task.note(
            f"The mask {name} was resized from {_text(size)} to the image's "
            f"{_text(mask.shape)} pixels; whatever it touches is inside."
        )
    if (mask == 1).all():
        task.note(
            f"The mask {name} is full: the whole image is inside (outside is what is "
            "black or transparent)."
        )
        return
    share = float(mask.mean(dtype=np.float64))
    text = f"{100 * share:.1f}%" if share >= 0.001 else "less than 0.1%"
    wrong_side = "; invert it if that is the wrong part" if share > 0.5 else ""
    task.note(f"{text} of the image is inside the mask {name}{wrong_side}.")


def read_mask(task: Task, name: str, exact: bool) -> np.ndarray:
    """Reads a mask as people's tools leave them, and notes how it was taken.

    Where a file has transparency, what is painted is inside, whatever its colour;
    otherwise what is bright in any channel. The brightest level of the file counts as
    1, so a mask of 0 and 1 is as good as one of 0 and 255. In a mask of classes, small
    whole numbers or a palette's colours, all but black is inside.

    Args:
        task: The opened task.
        name: A path of any image.
        exact: Whether greys stay, rather than be cut at half.

    Returns:
        float32 [H, W] in [0, 1], at the file's size; not all 0.

    Raises:
        UserError: if it cannot be read, or is empty.
    """
    path = images.resolve(name)
    pixels, lossy = images.read_channels(path)
    has_alpha = pixels.shape[-1] in (2, 4)
    colour = pixels[..., :-1] if has_alpha else pixels
    levels, void = colour.max(axis=-1), "black"
    if has_alpha and (pixels[..., -1] == 0).all():
        levels, void = pixels[..., -1], "transparent"
    elif has_alpha and np.ptp(pixels[..., -1]) > 0:
        levels, void = pixels[..., -1], "transparent"
        task.note(
            f"The mask {path.name} is transparent in parts: what is painted on it is "
            "inside, whatever its colour."
        )
    elif not lossy and _holds_classes(colour):
        levels = (levels > 0).astype(np.float32)
        task.note(
            f"The mask {path.name} holds several classes: all but black (0) is inside."
        )
    brightest = float(levels.max())
    if brightest == 0 or (lossy and brightest < MASK_NOISE):
        found = f"all of it is {void}"
        if brightest > 0:
            found = (
                f"its brightest level is {255 * brightest:.0f} of 255, which is what "
                "compression leaves of black"
            )
        raise UserError(
            f"The mask {path} is empty: {found}. A mask is bright where the image may "
            "change and black elsewhere, or painted on a transparent layer."
        )
    mask = levels / np.float32(brightest)
    tolerance = MASK_NOISE if lossy else 0
    if brightest < 1 - tolerance:
        task.note(
            f"The brightest level of the mask {path.name}, {100 * brightest:.4g}% of "
            "what its format holds, counts as 100%."
        )
    greys = ((mask > tolerance) & (mask < 1 - tolerance)).any()
    if exact:
        with_greys = ", its greys included" if greys else ""
        task.note(
            f"The mask {path.name} is taken exactly as it is, neither widened nor "
            f"blurred{with_greys}."
        )
        return mask
    if greys:
        task.note(
            f"The greys of the mask {path.name} were cut at half (--mask_radius=0 "
            "--mask_sigma=0 takes them as they are)."
        )
    return (mask > 0.5).astype(np.float32)


def _holds_classes(colour: np.ndarray) -> bool:
    """Whether the colours of a mask name things, rather than tell how much is inside.

    Args:
        colour: float32 [H, W, 1 or 3] in [0, 1], without losses.
    """
    levels = np.unique(colour.max(axis=-1))
    levels = levels[levels > 0].astype(np.float64)
    # The highest level is a border's, not a class's, as in PASCAL VOC.
    classes = levels[levels < 1]
    for depth in (8, 16, 32) if len(levels) > 1 else ():
        numbers = classes * (2**depth - 1)
        whole = np.allclose(numbers, np.rint(numbers), rtol=0, atol=1e-3)
        if whole and numbers.max() <= _HIGHEST_CLASS:
            return True
    if colour.shape[-1] == 1:
        return False
    codes = np.rint(colour * 255).astype(np.int32) @ np.array([1 << 16, 1 << 8, 1])
    codes = np.unique(codes)
    if len(codes) > _MOST_CLASSES:
        return False
    colours = np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=1)
    # Shades of one colour are a brush's; several colours are several things.
    brightness = colours.max(axis=1)
    shades = np.outer(
        brightness, colours[brightness.argmax()] / max(brightness.max(), 1)
    )
    return bool((np.abs(colours - shades) > 2.5).any())


def injection_scales(task: Task, text: str) -> list[int]:
    """The scales that --injection_scale names.

    Args:
        task: The opened task.
        text: A number, or "all".

    Returns:
        Coarse to fine, each at least 1: scale 0 takes no image.

    Raises:
        UserError: if it names none of the run's.
    """
    scales = range(1, task.last + 1)
    if text == "all" and scales:
        return list(scales)
    if text in map(str, scales):
        return [int(text)]
    if not scales:
        raise UserError(
            f"The run in --run_dir={task.run_dir} has one scale and takes no image; "
            "train one with more."
        )
    raise UserError(
        f"--injection_scale={text} must be all, or a scale of the run in "
        f"{task.run_dir}: a whole number from 1 to {task.last}."
    )


def check_trained(task: Task, scale: int, flag: str) -> None:
    """Refuses to train a scale again that was never trained.

    Args:
        task: The opened task.
        scale: The injection scale.
        flag: What asked for it, such as "quantize".

    Raises:
        UserError: if the scale is made of patches.
    """
    if task.config.steps_at(scale):
        return
    first = task.config.layout.patch_scales
    way_out = f"leave out --{flag}"
    if first <= task.last:
        way_out = f"use --injection_scale={first} or above, or {way_out}"
    raise UserError(
        f"--{flag} trains a scale again, but scale {scale} of the run in "
        f"{task.run_dir} is made of patches, without training; {way_out}."
    )


def check_area(size: tuple[int, int], flag: str) -> None:
    """Refuses to make an image that could not be read again.

    Args:
        size: (height, width) of the result.
        flag: What asked for it, such as "--factor=16".

    Raises:
        UserError: if it has too many pixels.
    """
    if size[0] * size[1] > images.MAX_PIXELS:
        raise UserError(
            f"{flag} makes {_text(size)} pixels, but the most is "
            f"{images.MAX_PIXELS // 10**6} megapixels; ask for less."
        )


def read_reference(task: Task, name: str, size: tuple[int, int]) -> np.ndarray:
    """Reads what a result is compared with.

    Args:
        task: The opened task.
        name: A path, or the name of a photograph that scikit-image carries.
        size: (height, width) of the result.

    Returns:
        float32 [1, height, width, C] in [-1, 1].

    Raises:
        UserError: if it cannot be read, or has another size.
    """
    path = images.resolve(name)
    reference = images.read(path, task.singan.channels)
    if reference.shape[1:3] != tuple(size):
        raise UserError(
            f"--reference={path} is {_text(reference.shape[1:3])} pixels, but the "
            f"result is {_text(size)}; crop it, or change --factor."
        )
    return reference


def redraw_each(
    task: Task, image: np.ndarray, scales: list[int], seed: int
) -> dict[str, np.ndarray]:
    """Redraws an image from each scale, and keeps the results.

    Args:
        task: The opened task.
        image: float32 [1, H, W, C] in [-1, 1].
        scales: Injection scales.
        seed: Of the noise.

    Returns:
        The results by caption.
    """
    redrawn = {}
    for scale in scales:
        result = manipulation.redraw(task.singan, image, scale, seed)
        task.write(f"scale_{scale:02d}.png", result)
        redrawn[f"scale {scale:02d}"] = result
    return redrawn


def paint_quantized(
    task: Task, painting: np.ndarray, scale: int, seed: int
) -> dict[str, np.ndarray]:
    """Redraws a painting in few colours, by a stage that is trained for them.

    The stage stays in the folder "quantized"; the run's own is not touched.

    Args:
        task: The opened task.
        painting: float32 [1, H, W, C] in [-1, 1].
        scale: The injection scale, one that is trained.
        seed: Of the noise.

    Returns:
        The painting in few colours and the result, by caption.

    Raises:
        UserError: if the run is damaged or training diverges.
    """
    # The same stage from the same command.
    tf.config.experimental.enable_op_determinism()
    photograph = manipulation.entering(task.singan, task.photograph, scale)
    palette = manipulation.find_palette(photograph, _PAINT_COLOURS)
    folder = task.output_dir / "quantized"
    # Left by an earlier call, perhaps with another run.
    shutil.rmtree(folder, ignore_errors=True)
    monitor = Monitor(task.config, task.singan.sizes[: scale + 1], folder)
    strategy = _strategy(task.config)
    run = loop.Run(task.config, strategy, folder, monitor, lambda: False)
    try:
        singan = retraining.retrain_scale(
            run, task.singan, task.run_dir, scale, palette
        )
    finally:
        monitor.close()
    blots = manipulation.entering(task.singan, painting, scale)
    blots = stages.nearest_colours(tf.constant(blots), palette).numpy()
    result = manipulation.redraw(singan, painting, scale, seed)
    task.write("input_quantized.png", blots)
    task.write(f"scale_{scale:02d}_quantized.png", result)
    return {"painting, quantized": blots, f"scale {scale:02d}, quantized": result}


def photograph_sketch(task: Task) -> np.ndarray:
    """The outlines of the photograph, float32 [1, H, W, C] in [-1, 1].

    Raises:
        UserError: if there are none.
    """
    sketch = manipulation.sketch(task.photograph)
    if sketch.min() == sketch.max():
        raise UserError(
            f"The photograph of --run_dir={task.run_dir} has no outlines, so --sketch "
            "has nothing to train on; paint with --quantize."
        )
    return sketch


def read_drawing(task: Task, name: Optional[str], keep_size: bool) -> np.ndarray:
    """Reads what `paint_sketch` paints, and notes if it is not like a sketch.

    Args:
        task: The opened task.
        name: As for `read_input`; None for the photograph's own sketch, mirrored:
            a painter that remembers rather than paints would not know it.
        keep_size: As for `read_input`.

    Returns:
        float32 [1, H, W, C] in [-1, 1].

    Raises:
        UserError: as `read_input`, or if the photograph has no outlines.
    """
    sketch = photograph_sketch(task)
    if name is None:
        return sketch[:, :, ::-1]
    drawing = read_input(task, name, keep_size)
    if drawing.mean() < 0:
        task.note(
            f"The drawing {images.resolve(name).name} is mostly dark, but sketches are "
            "dark lines on white; invert it if its lines are bright."
        )
    return drawing


def sketch_painter(
    task: Task,
    folder: pathlib.Path,
    scale: int,
    should_stop: Callable[[], bool] = lambda: False,
) -> SinGAN:
    """The run's pyramid with the scales from one on trained to paint sketches.

    What enters in training are the sketches of the photograph, which is to become the
    photograph again, and of random samples, without which nothing would be learned of
    other drawings.

    Args:
        task: The opened task; its run is not touched.
        folder: Where the new stages are kept. If they are there, they are not trained
            again; if some are, or one in part, training goes on.
        scale: Where sketches enter, at least 1.
        should_stop: Asked after every step.

    Returns:
        A pyramid whose reconstruction is the photograph's sketch painted; `inject` at
        that scale paints others.

    Raises:
        loop.Interrupted: if `should_stop` said so.
        UserError: if the photograph has no outlines, the run is damaged or training
            diverges.
    """
    # The same stages from the same command.
    tf.config.experimental.enable_op_determinism()
    sketches = [photograph_sketch(task)]
    draw = task.singan.sampler()
    for seed in range(_SKETCHED_SAMPLES):
        sample = draw([seed], 0, *task.singan.sizes[-1], 1.0).numpy()
        sketches.append(manipulation.sketch(sample))
    mine = {**task.source(), "scale": scale}
    if checkpoint.read_json(folder / "sketched.json") != mine:
        # Left by an earlier call, with another run or at another scale.
        shutil.rmtree(folder, ignore_errors=True)
        checkpoint.write_json(folder / "sketched.json", mine)
    monitor = Monitor(task.config, task.singan.sizes, folder)
    strategy = _strategy(task.config)
    run = loop.Run(task.config, strategy, folder, monitor, should_stop)
    try:
        return retraining.retrain_on_images(
            run, task.singan, task.run_dir, scale, np.concatenate(sketches)
        )
    finally:
        monitor.close()


def paint_sketch(
    task: Task,
    drawing: np.ndarray,
    scale: int,
    seed: int,
    should_stop: Callable[[], bool],
) -> dict[str, np.ndarray]:
    """Paints a drawing by stages that are trained on sketches.

    The stages stay in the folder `SKETCHED`; the run's own are not touched.

    Args:
        task: The opened task.
        drawing: Dark lines on white, float32 [1, H, W, C] in [-1, 1].
        scale: The injection scale.
        seed: Of the noise.
        should_stop: Asked after every step of training.

    Returns:
        The photograph's sketch, what it is painted to, and the result, by caption.

    Raises:
        loop.Interrupted: if `should_stop` said so; another call goes on.
        UserError: see `sketch_painter`.
    """
    painter = sketch_painter(task, task.output_dir / SKETCHED, scale, should_stop)
    sketch, painted = photograph_sketch(task), painter.reconstruct().numpy()
    result = manipulation.redraw(painter, drawing, scale, seed)
    task.write("sketch.png", sketch)
    task.write("sketch_painted.png", painted)
    task.write(f"scale_{scale:02d}_sketch.png", result)
    return {
        "photograph's sketch": sketch,
        "its sketch, painted": painted,
        f"scale {scale:02d}, trained on sketches": result,
    }


def _strategy(config: Config) -> tf.distribute.Strategy:
    """A run's own, unless that was a cluster's."""
    name = config.runtime.strategy
    return distribution.make_strategy("auto" if name == "multi_worker" else name)


def enlarge(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bicubic interpolation to (height, width), what super-resolution must beat."""
    return bring_up(tf.constant(image), size).numpy()


def quality(
    image: np.ndarray, reference: Optional[np.ndarray]
) -> dict[str, Optional[float]]:
    """How blurred an image is and how close to the truth, by scikit-image.

    Args:
        image: float32 [1, H, W, C] in [-1, 1].
        reference: The truth, likewise, with sides of at least 7; None if not known.

    Returns:
        "blur" of the mean over colours, 0 to 1 (Crete et al., The blur effect,
        2007); with a reference "psnr" in decibels, None if the two are equal, and
        "ssim".
    """
    found = {"blur": float(measure.blur_effect(image[0].mean(axis=-1)))}
    if reference is None:
        return found
    found["psnr"] = None
    if not np.array_equal(image, reference):
        psnr = metrics.peak_signal_noise_ratio(reference, image, data_range=2)
        found["psnr"] = float(psnr)
    ssim = metrics.structural_similarity(
        reference[0], image[0], data_range=2, channel_axis=-1
    )
    return {**found, "ssim": float(ssim)}


def quality_text(found: dict[str, Optional[float]]) -> str:
    """What `quality` found, in words."""
    parts = [f"blur {found['blur']:.3f}"]
    if "psnr" in found:
        psnr = found["psnr"]
        parts.append("equal" if psnr is None else f"PSNR {psnr:.2f} dB")
        parts.append(f"SSIM {found['ssim']:.3f}")
    return ", ".join(parts)


def detail(image: np.ndarray, side: int = 128) -> np.ndarray:
    """The middle of an image, at most side x side pixels."""
    top, left = (max(0, (length - side) // 2) for length in image.shape[1:3])
    return image[:, top : top + side, left : left + side]


def _text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
