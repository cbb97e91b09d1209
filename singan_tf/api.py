"""SinGAN for Python programs: what `import singan_tf` offers by name.

    import singan_tf

    model = singan_tf.train("photo.jpg", "runs/photo", singan_tf.preset("quick"))
    model = singan_tf.load("runs/photo")
    images = model.sample([1, 2], height=96, width=128)

Runs are those of the command line: what one has begun, the other goes on with.
"""

import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

import numpy as np

from singan_tf import config as config_lib
from singan_tf import photographs
from singan_tf.config import Config
from singan_tf.errors import UsageError
from singan_tf.measure import inception
from singan_tf.model.singan import SinGAN
from singan_tf.reports import report
from singan_tf.runs import loading, together
from singan_tf.runs.display import Monitor
from singan_tf.runs.folder import RunFolder
from singan_tf.tasks import (
    inputs,
    keeping,
    masks,
    painting,
    retargeting,
    tiling,
    transfer,
)
from singan_tf.tasks.maskings import MASKINGS
from singan_tf.training import circumstances, continuation, distribution, loop

_RECIPE = Config()


class Model:
    """A trained pyramid that draws what the commands and the servers draw.

    Attributes:
        singan: The pyramid itself, for graphs of one's own: its methods can be traced.
            Called outside a graph, they round otherwise than this class.
    """

    def __init__(self, singan: SinGAN):
        """Takes a trained pyramid."""
        self.singan = singan
        # Made once: it is traced at the first sample.
        self._draw = singan.sampler()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the photograph at the finest scale, in pixels."""
        return self.singan.sizes[-1]

    def sample(
        self,
        seeds: Sequence[int],
        start_scale: int = 0,
        height: Optional[int] = None,
        width: Optional[int] = None,
        noise_scale: float = 1.0,
    ) -> np.ndarray:
        """Random samples, equal to the command's to the last bit.

        Each is a pure function of the weights, its seed and the other arguments: the
        same alone as in a batch.

        Args:
            seeds: One 64-bit number for each sample.
            start_scale: Scales below it reproduce the photograph, so its layout stays.
            height: Of the samples, in pixels; by default the photograph's.
            width: Likewise.
            noise_scale: Multiplies the noise of every scale; from 0 to
                config.MAX_NOISE_SCALE.

        Returns:
            float32 [len(seeds), height, width, C] in [-1, 1].

        Raises:
            ValueError: if an argument is out of its range.
        """
        self._check_start_scale(start_scale, least=0)
        height, width = self._check_drawn(height, width, noise_scale)
        self._check_sides(height, width)
        rows = [
            self._draw([seed], start_scale, height, width, noise_scale).numpy()
            for seed in seeds
        ]
        empty = np.zeros([0, height, width, self.singan.channels], np.float32)
        return np.concatenate([empty, *rows])

    def tile(
        self,
        seed: int = 0,
        height: Optional[int] = None,
        width: Optional[int] = None,
        noise_scale: float = 1.0,
    ) -> np.ndarray:
        """A seamless tile, equal to the command's to the last level.

        Args:
            seed: Of the noise.
            height: In pixels; by default the photograph's.
            width: Likewise.
            noise_scale: As for `sample`.

        Returns:
            float32 [height, width, C] in [-1, 1], whose borders continue each other.

        Raises:
            ValueError: if an argument is out of its range.
        """
        height, width = self._check_drawn(height, width, noise_scale)
        self._check_sides(height, width)
        return tiling.draw_tile(self.singan, seed, height, width, noise_scale)[0]

    def retarget(
        self,
        image: np.ndarray,
        height: int,
        width: int,
        seed: int = 0,
        start_scale: int = 1,
    ) -> np.ndarray:
        """The photograph at another aspect ratio, equal to the command's.

        Args:
            image: The photograph at the model's size, float32 [H, W, C] in [-1, 1].
            height: Of the result, in pixels.
            width: Likewise.
            seed: Of the seams that are carved, and of the noise.
            start_scale: From 1 to the last scale; the lower, the more changes.

        Returns:
            float32 [height, width, C] in [-1, 1].

        Raises:
            ValueError: if an argument is out of its range.
        """
        self._check_photograph(image)
        self._check_start_scale(start_scale, least=1)
        self._check_drawn(height, width, 1.0)
        self._check_sides(height, width)
        rows = image[np.newaxis]
        return retargeting.retarget(
            self.singan, rows, height, width, seed, start_scale
        )[0]

    def transfer(
        self,
        image: np.ndarray,
        photograph: Optional[np.ndarray] = None,
        injection_scale: Optional[int] = None,
        seed: int = 0,
    ) -> np.ndarray:
        """The layout of another picture in the photograph's textures, as the command's.

        Args:
            image: The picture, float32 [H, W, C] in [-1, 1].
            photograph: What the picture's colours are matched with before, float32
                [h, w, C] in [-1, 1], the photograph at the model's size for what the
                command does; None leaves its colours as they are.
            injection_scale: From 1 to the last scale; the lower, the more changes. By
                default the last but one.
            seed: Of the noise.

        Returns:
            float32 [H, W, C] in [-1, 1].

        Raises:
            ValueError: if an array has another shape or type, or the scale is out of
                range.
        """
        self._check_image(image)
        rows = image[np.newaxis]
        if photograph is not None:
            self._check_image(photograph)
            rows = transfer.match_colours(rows, photograph[np.newaxis])
        if injection_scale is None:
            injection_scale = transfer.injection_scale(self.singan)
        return painting.redraw(self.singan, rows, injection_scale, seed)[0]

    def paint(
        self,
        image: np.ndarray,
        injection_scale: int,
        seed: int = 0,
        palette: Optional[np.ndarray] = None,
    ) -> np.ndarray:
        """A painting in the photograph's textures, equal to the command's.

        Args:
            image: The painting, float32 [H, W, C] in [-1, 1].
            injection_scale: From 1 to the last scale; the lower, the more changes.
            seed: Of the noise.
            palette: Colours that each pixel is snapped to before, float32 [K, C], such
                as `singan_tf.tasks.painting.find_palette` finds in a photograph; None
                for no such thing.

        Returns:
            float32 [H, W, C] in [-1, 1].

        Raises:
            ValueError: if an array has another shape or type, or the scale is out of
                range.
        """
        self._check_image(image)
        rows = image[np.newaxis]
        if palette is not None:
            channels = self.singan.channels
            if palette.dtype != np.float32 or palette.shape[1:] != (channels,):
                raise ValueError(
                    f"palette {palette.dtype} {palette.shape} is not float32 "
                    f"[K, {channels}]"
                )
            rows = painting.snap(rows, palette)
        return painting.redraw(self.singan, rows, injection_scale, seed)[0]

    def edit(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        injection_scale: int,
        seed: int = 0,
        mask_radius: int = MASKINGS["edit"].radius,
        mask_sigma: float = MASKINGS["edit"].sigma,
    ) -> np.ndarray:
        """Blends an edit into its picture, equal to the command's to the last bit.

        The picture is redrawn in the photograph's texture, and shown so inside the
        mask, which is widened and blurred before (SinGAN, section 4).

        Args:
            image: float32 [H, W, C] in [-1, 1], such as a sample or a photograph at
                the model's size, with parts moved or painted by hand.
            mask: [H, W], bool or float in [0, 1]: where the edit is.
            injection_scale: From 1 to the last scale; the lower, the more changes.
            seed: Of the noise.
            mask_radius: How much wider the mask is made, in pixels.
            mask_sigma: Of the Gaussian that blurs it then, in pixels. With both 0 the
                mask is used as it is.

        Returns:
            float32 [H, W, C] in [-1, 1], the image itself where the softened mask is 0.

        Raises:
            ValueError: if an array has another shape or type, or the scale is out of
                range.
        """
        self._check_image(image)
        if mask.shape != image.shape[:2]:
            raise ValueError(f"mask {mask.shape} is not {image.shape[:2]}")
        rows = image[np.newaxis]
        redrawn = painting.redraw(self.singan, rows, injection_scale, seed)
        softened = masks.soften_mask(mask, mask_radius, mask_sigma)
        return masks.blend(rows, redrawn, softened)[0]

    def keep(self, image: np.ndarray, kept: np.ndarray, seed: int = 0) -> np.ndarray:
        """A sample that keeps a region, equal to the command's to the last level.

        Args:
            image: The photograph at the model's size, float32 [H, W, C] in [-1, 1].
            kept: bool [H, W], what stays of it.
            seed: Of the noise.

        Returns:
            float32 [H, W, C] in [-1, 1], the image itself where it is kept.

        Raises:
            ValueError: if an array has another shape or type, or nothing or all is
                kept.
        """
        self._check_photograph(image)
        if kept.dtype != bool or kept.shape != self.size:
            raise ValueError(f"kept {kept.dtype} {kept.shape} is not bool {self.size}")
        if kept.all() or not kept.any():
            raise ValueError("kept has to have something inside and something outside")
        return keeping.draw_around(self.singan, image[np.newaxis], kept, seed)[0]

    def outpaint(
        self,
        image: np.ndarray,
        left: int = 0,
        right: int = 0,
        top: int = 0,
        bottom: int = 0,
        seed: int = 0,
    ) -> np.ndarray:
        """Grows the photograph beyond its borders, as the command does.

        Args:
            image: The photograph at the model's size, float32 [H, W, C] in [-1, 1].
            left: The number of pixels that it grows at this side.
            right: Likewise.
            top: Likewise.
            bottom: Likewise.
            seed: Of the noise.

        Returns:
            float32 [top + H + bottom, left + W + right, C] in [-1, 1], the image
            itself in its place.

        Raises:
            ValueError: if the image has another shape or type, a side shrinks, or the
                result has too many pixels.
        """
        self._check_photograph(image)
        margins = keeping.Margins(left, right, top, bottom)
        height, width = keeping.grown_size(self.size, margins)
        if min(margins) < 0 or height * width > config_lib.MAX_PIXELS:
            raise ValueError(
                f"{margins} makes {width}x{height} pixels; each is at least 0, and the "
                f"most pixels are {config_lib.MAX_PIXELS}"
            )
        layout, kept = keeping.grown(image[np.newaxis], margins)
        return keeping.draw_around(self.singan, layout, kept, seed)[0]

    def _check_drawn(
        self, height: Optional[int], width: Optional[int], noise_scale: float
    ) -> tuple[int, int]:
        """The size of what is drawn, (height, width), the photograph's by default."""
        if not 0 <= noise_scale <= config_lib.MAX_NOISE_SCALE:
            raise ValueError(
                f"noise_scale {noise_scale} is not from 0 to "
                f"{config_lib.MAX_NOISE_SCALE}"
            )
        height = self.size[0] if height is None else height
        width = self.size[1] if width is None else width
        if not (height > 0 and width > 0 and height * width <= config_lib.MAX_PIXELS):
            raise ValueError(
                f"{width}x{height} pixels is not a size of 1 to {config_lib.MAX_PIXELS}"
            )
        return height, width

    def _check_start_scale(self, start_scale: int, least: int) -> None:
        last = len(self.singan.stages) - 1
        if not least <= start_scale <= last:
            raise ValueError(f"start_scale {start_scale} is not from {least} to {last}")

    def _check_sides(self, height: int, width: int) -> None:
        """Refuses a size that leaves the coarsest scale nothing."""
        for side, full, small in zip((height, width), self.size, self.singan.sizes[0]):
            least = inputs.least_side(full, small)
            if side < least:
                raise ValueError(
                    f"a side of {side} pixels is not one of at least {least}"
                )

    def _check_image(self, image: np.ndarray) -> None:
        channels = self.singan.channels
        if image.dtype != np.float32 or image.shape[2:] != (channels,):
            raise ValueError(
                f"image {image.dtype} {image.shape} is not float32 [H, W, {channels}]"
            )

    def _check_photograph(self, image: np.ndarray) -> None:
        expected = (*self.size, self.singan.channels)
        if image.dtype != np.float32 or image.shape != expected:
            raise ValueError(
                f"image {image.dtype} {image.shape} is not float32 {expected}"
            )


def load(run_dir: Union[str, os.PathLike[str]]) -> Model:
    """Loads the model of a finished run.

    Args:
        run_dir: The run's folder.

    Raises:
        UserError: if there is no run, it is not finished, it is damaged, or a newer
            version of the program made it.
    """
    return Model(loading.load(RunFolder(pathlib.Path(run_dir)))[0])


def train(
    image: Union[together.Image, Sequence[together.Image]],
    run_dir: Union[str, os.PathLike[str]],
    config: Union[Config, Mapping[str, Any]] = _RECIPE,
    overwrite: bool = False,
    continue_steps: int = 0,
    train_mask: Optional[photographs.Mask] = None,
    transparent: str = "outside",
) -> Model:
    """Trains a run on photographs, or goes on with it, as the command does.

    Interrupted, it goes on from the last checkpoint when it is called again. Call
    tf.config.experimental.enable_op_determinism() before it, as the command does, if
    the same call is to end with the same weights.

    Args:
        image: A path, the name of a photograph in scikit-image, or uint8 [H, W] or
            [H, W, 3]; one model is trained on several photographs, of any sizes, if
            a list of these is given, or a folder.
        run_dir: The run's folder; made if missing.
        config: A configuration, or settings by name, such as a `preset`'s, which are
            the command's flags: what is missing keeps its default.
        overwrite: Deletes an existing run first.
        continue_steps: The number of steps to add at the finest scale, also when the
            run has ended; the configuration is that of the run before them.
        train_mask: What of the photograph is learned, in its size: a path of a mask, or
            bool [H, W]; None for all that is opaque.
        transparent: "outside": transparent parts are not learned; "white": they lie on
            white, and are.

    Returns:
        The trained model.

    Raises:
        UsageError: if a setting is unknown or out of its range, or names a cluster, or
            there is nothing to add steps to, or there is a mask and several
            photographs.
        UserError: if a photograph or its mask cannot be read or does not fit the
            settings, the folder holds another run, is damaged or cannot be written, or
            training diverges.
        ValueError: if an array is no picture or mask, continue_steps is below 0, or
            transparent is neither.
    """
    _check_part(train_mask, transparent)
    if not isinstance(config, Config):
        config = config_lib.from_settings(dict(config))
    if config.runtime.strategy == "multi_worker":
        raise UsageError("strategy multi_worker is the train command's only.")
    run = RunFolder(pathlib.Path(run_dir))
    with tempfile.TemporaryDirectory() as place:
        paths = together.find_or_write(image, pathlib.Path(place))
        found = together.read(paths, config, train_mask, transparent)
        return _train(found, run, overwrite, continue_steps)


def _check_part(mask: Optional[photographs.Mask], transparent: str) -> None:
    """Refuses what is no mask, and other ways to read what is transparent."""
    if transparent not in photographs.TRANSPARENT:
        raise ValueError(f"transparent {transparent!r} is none of outside and white")
    if isinstance(mask, np.ndarray) and (
        mask.dtype != bool or mask.ndim != 2 or not mask.any()
    ):
        raise ValueError("train_mask is not bool [H, W] with something inside")


def _train(
    found: together.Together, run: RunFolder, overwrite: bool, more: int
) -> Model:
    config, sizes = found.config, found.sizes[0]
    finest, begun = len(sizes) - 1, None
    if more:
        config = continuation.with_more_steps(config, finest, more)
        begun = None if overwrite else continuation.begun(run, config, finest)
    batch = config.training.global_batch_size
    strategy = distribution.make_strategy(config.runtime.strategy, batch)
    around = circumstances.find(config, strategy)
    with run.open(begun or config, found.facts, overwrite, around):
        if begun:
            run.extend(config, finest)
        samples = None
        if not run.is_finished(len(sizes)):
            weights = config.runtime.inception_weights
            network = inception.load(weights) if weights else None
            monitor = Monitor(config, sizes, run, network)
            try:
                trained = loop.train(
                    found.arrays,
                    config,
                    run,
                    monitor,
                    strategy=strategy,
                    insides=found.insides,
                )
                samples = trained.samples
            finally:
                monitor.close()
        # Also after a kill between the samples, which end a run, and its report.
        if not run.report.exists():
            report.write(run, samples)
    return load(run.path)
