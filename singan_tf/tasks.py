"""The tasks' way in and out: inputs, masks and scales checked, results kept.

Every command on a finished run opens it here, before anything is computed, and
leaves its results, a contact sheet and, last, a call.json that says how they were
made. What a person should know of an input (that it was resized, that a mask was
empty) is a note: printed, and kept in call.json.
"""

import pathlib
import shutil
from typing import Any, Callable, NamedTuple, Optional

import numpy as np
import tensorflow as tf
from skimage import measure, metrics

import singan_tf
from singan_tf import (
    checkpoint,
    distribution,
    images,
    manipulation,
    networks,
    stages,
    training,
)
from singan_tf.config import Config
from singan_tf.errors import UserError, printable
from singan_tf.monitor import Monitor
from singan_tf.resize import resize
from singan_tf.singan import SinGAN, bring_up

SHEET_NAME = "contact_sheet.png"
# The folder of the stages that paint sketches.
SKETCHED = "sketched"

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
    size, finest = image.shape[1:3], task.singan.sizes[-1]
    if keep_size:
        for side, full, coarsest in zip(size, finest, task.singan.sizes[0]):
            least = least_side(full, coarsest)
            if side < least:
                raise UserError(
                    f"{path} is {_text(size)} pixels, but with this run a side must "
                    f"have at least {least}; use a larger image."
                )
        task.note(f"{path.name} keeps its size of {_text(size)} pixels.")
        return image
    if size == finest:
        task.note(f"{path.name} has the run's size of {_text(size)} pixels.")
        return image
    task.note(
        f"{path.name} was resized from {_text(size)} to the run's {_text(finest)} "
        "pixels (--keep_size keeps its size)."
    )
    return bring_up(tf.constant(image), finest).numpy()


def least_side(full: int, coarsest: int) -> int:
    """The shortest side of an image at the finest scale, in pixels.

    At the coarsest scale, there must be one pixel more than padding mirrors.

    Args:
        full: The run's side at the finest scale.
        coarsest: The run's side at the coarsest scale.
    """
    return -(-full * (networks.MARGIN + 1) // coarsest)


def read_mask(task: Task, name: str, size: tuple[int, int]) -> np.ndarray:
    """Reads a mask, and notes if it was resized, or is empty or full.

    Args:
        task: The opened task.
        name: A path of any image; what is brighter than half is inside, what is
            transparent is not.
        size: (height, width) of the image that it is for.

    Returns:
        bool [height, width].

    Raises:
        UserError: if it cannot be read.
    """
    path = images.resolve(name)
    grey = images.read(path, channels=1, background="black")
    if grey.shape[1:3] != tuple(size):
        task.note(
            f"The mask {path.name} was resized from {_text(grey.shape[1:3])} to the "
            f"image's {_text(size)} pixels."
        )
        grey = resize(tf.constant(grey), *size).numpy()
    mask = grey[0, :, :, 0] > 0
    if not mask.any():
        task.note(f"The mask {path.name} is empty: nothing is inside.")
    elif mask.all():
        task.note(f"The mask {path.name} is full: the whole image is inside.")
    return mask


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
    run = training.Run(task.config, strategy, folder, monitor, lambda: False)
    try:
        singan = training.retrain_scale(run, task.singan, task.run_dir, scale, palette)
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
        training.Interrupted: if `should_stop` said so.
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
    run = training.Run(task.config, strategy, folder, monitor, should_stop)
    try:
        return training.retrain_on_images(
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
        training.Interrupted: if `should_stop` said so; another call goes on.
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
