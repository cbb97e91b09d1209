"""What the studio draws with: a run in this process, or whatever else draws the same.

The page knows a `Model` alone. Images are float32 [1, H, W, C] in [-1, 1], as in the
tasks, so that what the page shows is what the commands write.
"""

import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any, Callable, Optional, Protocol

import numpy as np

from singan_tf import images
from singan_tf.model.singan import SinGAN
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder
from singan_tf.tasks import animation, blending, inputs, masks, painting, retargeting
from singan_tf.tasks import super_resolution as enlarging
from singan_tf.tasks.task import Task

# Beside a result, the files of what a model was given: the image at the model's size,
# in its colours or with its hole filled, and the softened mask.
GIVEN, SOFTENED = "given.png", "softened_mask.png"
SAMPLE, REDRAW, ENLARGE, ANIMATE = "sample", "redraw", "enlarge", "animate"
RETARGET = "retarget"


class Model(Protocol):
    """Draws images in a photograph's texture.

    Attributes:
        name: What a person calls it.
        abilities: Which of `SAMPLE`, `REDRAW`, `ENLARGE`, `ANIMATE` and `RETARGET` it
            can do.
        sizes: (height, width) of the scales, coarse to fine, in pixels.
        photograph: At the finest scale.
        inside: What of it was learned, bool [H, W]; None for all.
    """

    name: str
    abilities: frozenset[str]
    sizes: list[tuple[int, int]]
    photograph: np.ndarray
    inside: Optional[np.ndarray]

    def warm_up(self) -> None:
        """Does beforehand what would make the first answers slow."""

    def sample(
        self, seed: int, start_scale: int, size: tuple[int, int], noise_scale: float
    ) -> np.ndarray:
        """A random sample of a size (height, width); as `api.Model.sample`."""

    def redraw(self, image: np.ndarray, injection_scale: int, seed: int) -> np.ndarray:
        """An image in the photograph's texture; as `painting.redraw`."""

    def blend(
        self, image: np.ndarray, softened: np.ndarray, injection_scale: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """An image redrawn, and the same only inside a mask, float32 [H, W]."""

    def enlarge(
        self, image: np.ndarray, factor: float, strength: float, seed: int
    ) -> np.ndarray:
        """An image enlarged; as `super_resolution.super_resolve`."""

    def animate(self, walk: animation.Walk) -> Iterator[np.ndarray]:
        """The frames of a walk; as `animation.animate`."""

    def line(self, command: str, **flags: Any) -> str:
        """The command line that makes the same, to the last bit.

        Args:
            command: The command's name.
            flags: Its flags by name; those of None are left out.
        """


class RunModel:
    """A finished run, in this process; see `Model`."""

    abilities = frozenset({SAMPLE, REDRAW, ENLARGE, ANIMATE, RETARGET})

    def __init__(self, run: RunFolder, line: Callable[..., str]):
        """Loads the run.

        Args:
            run: Its folder.
            line: Writes command lines, of the run's folder, a command's name and its
                flags by name.

        Raises:
            UserError: if there is no run, it is damaged or it is not finished.
        """
        self.name = run.path.name
        self._run, self._line = run, line
        self._singan, self._config = loading.load(run)
        self.sizes = self._singan.sizes
        last = len(self.sizes) - 1
        self.photograph = images.read(run.real(last), self._singan.channels)
        learned = run.read_insides(len(self.sizes))[0]
        self.inside = None if learned is None else learned[-1]
        # Traced at the first sample.
        self._draw = self._singan.sampler()
        self._is_warm = False

    def warm_up(self) -> None:
        """See `Model.warm_up`."""
        if not self._is_warm:
            self.sample(0, 0, self.sizes[-1], 1.0)
            if len(self.sizes) > 1:
                self.redraw(self.photograph, 1, 0)
            self._is_warm = True

    def sample(
        self, seed: int, start_scale: int, size: tuple[int, int], noise_scale: float
    ) -> np.ndarray:
        """See `Model.sample`."""
        return self._draw([seed], start_scale, *size, noise_scale).numpy()

    def redraw(self, image: np.ndarray, injection_scale: int, seed: int) -> np.ndarray:
        """See `Model.redraw`."""
        return painting.redraw(self._singan, image, injection_scale, seed)

    def blend(
        self, image: np.ndarray, softened: np.ndarray, injection_scale: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Model.blend`."""
        redrawn = self.redraw(image, injection_scale, seed)
        return redrawn, masks.blend(image, redrawn, softened)

    def enlarge(
        self, image: np.ndarray, factor: float, strength: float, seed: int
    ) -> np.ndarray:
        """See `Model.enlarge`."""
        return enlarging.super_resolve(self._singan, image, factor, seed, strength)

    def animate(self, walk: animation.Walk) -> Iterator[np.ndarray]:
        """See `Model.animate`."""
        return animation.animate(self._singan, walk)

    def line(self, command: str, **flags: Any) -> str:
        """See `Model.line`."""
        return self._line(self._run.path, command, **flags)


def read_input(
    model: Model, path: pathlib.Path, colours: int = 0
) -> tuple[np.ndarray, list[str]]:
    """Reads an image as the tasks do: brought to the size of the model.

    Args:
        model: What works on it.
        path: The file.
        colours: The number of the photograph's main colours that it is snapped to; 0
            leaves it as it is.

    Returns:
        float32 [1, H, W, C] in [-1, 1], and what a person should know of it.

    Raises:
        UserError: if it cannot be read.
    """
    task = _task(model)
    image = inputs.read_input(task, str(path), keep_size=False)
    if colours:
        palette = painting.find_palette(model.photograph, colours, model.inside)
        image = painting.snap(image, palette)
    return image, task.notes


def retarget(
    model: Model, size: tuple[int, int], start_scale: int, seed: int
) -> np.ndarray:
    """The photograph at another aspect ratio; as `retargeting.retarget`.

    Args:
        model: What draws it.
        size: (height, width) of the result.
        start_scale: From 1 to the last scale.
        seed: Of the seams and of the noise.

    Returns:
        float32 [1, height, width, C] in [-1, 1].
    """
    layout = retargeting.lay_out(
        model.photograph, model.sizes, *size, seed, start_scale
    )
    return model.redraw(layout, start_scale, seed)


def read_masked(
    model: Model, path: pathlib.Path, mask: pathlib.Path, masking: blending.Masking
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Reads an image and its mask as the tasks do.

    Args:
        model: What works on them.
        path: The image's file.
        mask: The mask's, bright where the image may change.
        masking: What becomes of the mask.

    Returns:
        The image as `read_input` gives it, filled if the mask is a hole, the softened
        mask float32 [H, W] in [0, 1], and what a person should know of them.

    Raises:
        UserError: if a file cannot be read, or nothing or all is inside.
    """
    task = _task(model)
    image, softened = blending.read_masked(task, str(path), str(mask), False, masking)
    return image, softened, task.notes


def _task(model: Model) -> Task:
    """What the tasks read inputs with: sizes and channels, and a place for notes."""
    shape = SinGAN(model.sizes, model.photograph.shape[3])
    nowhere = pathlib.Path(tempfile.gettempdir())
    return Task(RunFolder(nowhere / model.name), nowhere, shape, None, [])
