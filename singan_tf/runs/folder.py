"""The run folder: everything that a run leaves on disk, and where.

    config.json               settings, photograph and circumstances, in `FORMAT`
    pyramid/NN.png            the photograph at each scale; NN_inside.png what counts
    scales/NN/                a scale's state and checkpoints (`checkpoints`), its
                              tables (`tables`), a sample and the reconstruction
    pyramid/NN-2.png, ...     of a run of several photographs, those of the second and
    scales/NN/reconstruction-2.png    so on
    events/                   TensorBoard's
    samples.png               the contact sheet of samples, the last file of a run
    report/index.html         the page of a finished run
    saved_model/              its exports
    .lock                     held by the process that trains in it

No other module spells these names.
"""

import dataclasses
import fcntl
import io
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional, Union

import numpy as np
import tensorflow as tf

import singan_tf
from singan_tf import config as config_lib
from singan_tf import errors, files, images, stack
from singan_tf.config import Config
from singan_tf.errors import Damaged, UserError
from singan_tf.model.pyramid import Scales, plan_all, plan_scales
from singan_tf.model.singan import SinGAN
from singan_tf.runs import checkpoints, facts, tables
from singan_tf.runs.checkpoints import ScaleState
from singan_tf.runs.facts import Photograph
from singan_tf.runs.tables import Metric, Timing

# Of config.json; 0 is that of version 0.1.0, which has no number. A change that older
# programs would misread raises it.
FORMAT = 2
# What a run of all of one photograph is written in, which older programs read.
_FORMAT_OF_ONE = 1


class Circumstances(NamedTuple):
    """What changes a run's result although no setting tells it.

    Attributes:
        batch_size: The number of samples in an update, which the devices decide where
            the setting is 0; None if that is not known.
        vgg_sha256: Of the weights of the texture loss; None if there is none, or it is
            not known.
    """

    batch_size: Optional[int] = None
    vgg_sha256: Optional[str] = None


_UNKNOWN = Circumstances()


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """A run on disk: its paths, its state, its tables, and who may write.

    Attributes:
        path: The folder, which need not be there.
    """

    path: pathlib.Path

    @property
    def config(self) -> pathlib.Path:
        """The file of settings, which makes a folder a run."""
        return self.path / "config.json"

    @property
    def events(self) -> pathlib.Path:
        """TensorBoard's folder."""
        return self.path / "events"

    @property
    def samples(self) -> pathlib.Path:
        """The contact sheet of samples, the last file that training writes."""
        return self.path / "samples.png"

    @property
    def report(self) -> pathlib.Path:
        """The page of a finished run."""
        return self.path / "report" / "index.html"

    @property
    def exports(self) -> pathlib.Path:
        """The folder of the versions of its SavedModel."""
        return self.path / "saved_model"

    def scale(self, scale: int) -> pathlib.Path:
        """The folder of a scale."""
        return self.path / "scales" / f"{scale:02d}"

    def real(self, scale: int, photograph: int = 0) -> pathlib.Path:
        """The picture of a photograph at a scale."""
        return self.path / "pyramid" / f"{scale:02d}{_suffix(photograph)}.png"

    def inside(self, scale: int, photograph: int = 0) -> pathlib.Path:
        """The picture of what of a photograph counts, where not all of it does."""
        name = f"{scale:02d}{_suffix(photograph)}_inside.png"
        return self.path / "pyramid" / name

    def fake(self, scale: int) -> pathlib.Path:
        """The picture of a sample of a scale."""
        return self.scale(scale) / "fake.png"

    def reconstruction(self, scale: int, photograph: int = 0) -> pathlib.Path:
        """The picture of the reconstruction of a photograph at a scale."""
        return self.scale(scale) / f"reconstruction{_suffix(photograph)}.png"

    def open(
        self,
        config: Config,
        photographs: Union[Photograph, Sequence[Photograph]],
        overwrite: bool = False,
        circumstances: Circumstances = _UNKNOWN,
    ) -> io.TextIOBase:
        """Starts a run, or checks that the one that is there is the same.

        Args:
            config: Of the run.
            photographs: That it trains on, one or several.
            overwrite: Deletes an existing run first.
            circumstances: That it trains in.

        Returns:
            An open file that keeps other processes from training in the folder, as
            long as it is open.

        Raises:
            UserError: if the folder holds another run or something else, cannot be
                written, or another process is training in it.
        """
        if isinstance(photographs, Photograph):
            photographs = [photographs]
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{self.path} is a file; name a folder.")
        # Before the next look: a path such as new/.. leads to a folder that is there.
        self._make()
        if self.config.exists() and not overwrite:
            self.refuse_another(config, photographs, circumstances)
        elif not self.config.exists():
            # What a killed start left behind is hidden and does not count.
            if any(not entry.name.startswith(".") for entry in self.path.iterdir()):
                raise UserError(
                    f"The folder {self.path} exists and holds no run; name a new or an "
                    "empty folder."
                )
        held = self._lock()
        if overwrite:
            self._clear()
        if not self.config.exists():
            first, *further = map(facts.to_json, photographs)
            as_before = not further and photographs[0].inside_sha256 is None
            data = {
                "format": _FORMAT_OF_ONE if as_before else FORMAT,
                "version": singan_tf.__version__,
                "stack": stack.versions(),
                "image": first,
                **({"further_images": further} if further else {}),
                "circumstances": circumstances._asdict(),
                "config": config_lib.to_json(config),
            }
            files.write_json(self.config, data)
        return held

    def extend(self, config: Config, scale: int) -> None:
        """Gives a run that is there more steps at its finest scale.

        Can be given again after a kill. The caller has opened the run.

        Args:
            config: That of the run but for these steps.
            scale: The finest.

        Raises:
            UserError: if the scale is finished and has no optimizers to go on with;
                the run stays as it is.
        """
        checkpoints.reopen(self.scale(scale))
        for shown in (self.samples, self.report.parent):
            if shown.exists():
                files.delete(shown)
        data = files.read_json(self.config)
        files.write_json(self.config, {**data, "config": config_lib.to_json(config)})

    def read(self) -> tuple[Config, Photograph]:
        """Reads the configuration and the photograph's facts of a run.

        Of several photographs, those of the first.

        Raises:
            UserError: if there is no run, its config.json is damaged, or a newer
                version of the program wrote it.
        """
        config, photographs, _ = self._read()
        return config, photographs[0]

    def photographs(self) -> list[Photograph]:
        """Reads the facts of all photographs of a run; raises what `read` does."""
        return self._read()[1]

    def state(self, scale: int) -> Optional[ScaleState]:
        """How far a scale has come, as `checkpoints.read_state` tells it."""
        return checkpoints.read_state(self.scale(scale))

    def sound_state(self, scale: int) -> Optional[ScaleState]:
        """The state to go on from, as `checkpoints.sound_state` tells it."""
        return checkpoints.sound_state(self.scale(scale))

    def is_finished(self, num_scales: int) -> bool:
        """Whether every scale is, and whole, and the sheet that ends a run is there.

        Raises:
            UserError: if a checkpoint cannot be read for a reason other than damage.
        """
        try:
            states = [self.state(scale) for scale in range(num_scales)]
            if not self.has_ended(states):
                return False
            for scale, state in enumerate(states):
                checkpoints.require_whole(self.scale(scale), state)
        except Damaged:
            return False
        return True

    def has_ended(self, states: list[Optional[ScaleState]]) -> bool:
        """Whether a run says so of itself: quick, as no checkpoint is read."""
        scales_finished = all(state is not None and state.finished for state in states)
        return scales_finished and self.samples.exists()

    def save(
        self,
        scale: int,
        objects: dict[str, Any],
        losses: np.ndarray,
        finished: bool,
        patches: bool = False,
    ) -> None:
        """Stores the training state of a scale, as `checkpoints.save` does.

        Args:
            scale: The scale.
            objects: What a tf.train.Checkpoint holds, by name.
            losses: One row for each step so far, float32 [steps, len(LOSS_COLUMNS)].
            finished: Whether the scale is.
            patches: Whether it is made of patches though it was trained.

        Raises:
            UserError: if the folder cannot be written; the last state stays valid.
        """
        tables.write_losses(self._losses(scale), losses)
        checkpoints.save(self.scale(scale), len(losses), objects, finished, patches)

    def restore(self, scale: int, state: ScaleState, objects: dict[str, Any]) -> None:
        """Gives objects the values that `save` stored, or some of them.

        Raises:
            Damaged: if the checkpoint is damaged.
            UserError: if it does not hold the objects, or cannot be read.
        """
        checkpoints.restore(self.scale(scale), state, objects)

    def losses(self, scale: int, state: ScaleState) -> np.ndarray:
        """The losses of the steps that a state covers, as `tables.read_losses` does."""
        return tables.read_losses(self._losses(scale), state.step)

    def timings(self, scale: int) -> list[Timing]:
        """The pace of a scale; empty if it was not kept."""
        return tables.read_timings(self._timings(scale))

    def write_timings(self, scale: int, timings: list[Timing], durable: bool) -> None:
        """Keeps the pace of a scale, as `tables.write_timings` does."""
        tables.write_timings(self._timings(scale), timings, durable)

    def metric(self, scale: int) -> Optional[Metric]:
        """What was measured while a scale trained; None if that was not kept."""
        return tables.read_metric(self._metrics(scale))

    def write_metric(self, scale: int, metric: Metric) -> None:
        """Keeps what was measured while a scale trains."""
        tables.write_metric(self._metrics(scale), metric)

    def write_pyramid(
        self,
        reals: list[tf.Tensor],
        photograph: int = 0,
        insides: Sequence[np.ndarray] = (),
    ) -> None:
        """Writes a photograph at each scale as pictures.

        Args:
            reals: float32 [1, H, W, C] in [-1, 1].
            photograph: Its number.
            insides: What of them counts, bool [H, W]; none where all does.
        """
        for scale, real in enumerate(reals):
            images.write(self.real(scale, photograph), real.numpy())
        for scale, inside in enumerate(insides):
            levels = np.where(inside, 255, 0).astype(np.uint8)
            images.write(self.inside(scale, photograph), levels[:, :, np.newaxis])

    def read_insides(self, num_scales: int) -> list[Optional[list[np.ndarray]]]:
        """Of each photograph what of it counts at each scale, bool [H, W].

        Returns:
            A list for each photograph; None where all of it does.

        Raises:
            UserError: if there is no run, or a picture of it cannot be read.
        """
        return [
            None
            if each.inside_sha256 is None
            else self._read_inside(number, num_scales)
            for number, each in enumerate(self.photographs())
        ]

    def _read_inside(self, photograph: int, num_scales: int) -> list[np.ndarray]:
        paths = [self.inside(scale, photograph) for scale in range(num_scales)]
        return [images.read(path, 1)[0, :, :, 0] > 0 for path in paths]

    def _losses(self, scale: int) -> pathlib.Path:
        return self.scale(scale) / "losses.csv"

    def _timings(self, scale: int) -> pathlib.Path:
        return self.scale(scale) / "timings.csv"

    def _metrics(self, scale: int) -> pathlib.Path:
        return self.scale(scale) / "metrics.csv"

    def refuse_another(
        self,
        config: Config,
        photographs: Sequence[Photograph],
        circumstances: Circumstances,
    ) -> None:
        """Refuses to go on with a run that is there if it is another one.

        Args:
            config: Of the run that is wanted.
            photographs: That it trains on.
            circumstances: That it trains in.

        Raises:
            UserError: if it is another run, damaged or of a newer version.
        """
        old_config, old_photographs, old = self._read()
        found = facts.changes(old_photographs, photographs)
        sizes = (old.batch_size, circumstances.batch_size)
        if None not in sizes:
            # The number itself counts, not whether it was asked for.
            config = with_batch_setting(config, old_config)
            if sizes[0] != sizes[1]:
                found.append(
                    f"samples in an update: {sizes[0]} -> {sizes[1]}, which a global "
                    f"batch size of {sizes[0]} keeps"
                )
        found += config_lib.differences(old_config, config)
        sums = (old.vgg_sha256, circumstances.vgg_sha256)
        if None not in sums and sums[0] != sums[1]:
            found.append("weights of the texture loss: others")
        if found:
            raise UserError(
                f"{self.path} holds another run ({'; '.join(found)}); name another "
                "folder, give the same settings, or overwrite that run, which deletes "
                "it."
            )

    def _read(self) -> tuple[Config, list[Photograph], Circumstances]:
        data = files.read_json(self.config)
        if data is None:
            raise UserError(
                f"There is no run in {self.path} (no config.json); train one first."
            )
        files.require_format(self.config, data, FORMAT)
        try:
            return (
                config_lib.from_json(data["config"]),
                [
                    facts.from_json(each)
                    for each in (data["image"], *data.get("further_images", []))
                ],
                _circumstances(data.get("circumstances", {})),
            )
        except (KeyError, TypeError, UserError) as error:
            raise UserError(
                f"{self.config} is damaged or from another version of the program "
                f"({error}); bring back a copy of it, or train in another folder."
            ) from None

    def _make(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._cannot_be_written(error) from None

    def _cannot_be_written(self, error: OSError) -> UserError:
        way_out = errors.way_out(error) or "name another folder"
        return UserError(
            f"{self.path} cannot be written ({error.strerror}); {way_out}."
        )

    def _lock(self) -> io.TextIOBase:
        try:
            file = open(self.path / ".lock", "w")
        except OSError as error:
            raise self._cannot_be_written(error) from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            if not isinstance(error, BlockingIOError):
                raise UserError(
                    f"{self.path} cannot be kept from other processes "
                    f"({error.strerror}); name a folder on another disk."
                ) from None
            raise UserError(
                f"Another process is training in {self.path}; wait for it or name "
                "another folder."
            ) from None
        return file

    def _clear(self) -> None:
        """Deletes a run, config.json last: a run cut short is still known as one."""
        kept = {".lock", self.config.name}
        for entry in [e for e in self.path.iterdir() if e.name not in kept]:
            files.delete(entry)
        files.sync(self.path)
        self.config.unlink(missing_ok=True)


def model_objects(singan: SinGAN, scale: int) -> dict[str, Any]:
    """What the checkpoint of a scale holds of the model itself."""
    objects = {"stage": singan.stages[scale]}
    if scale == 0:
        objects["reconstruction_noise"] = singan.reconstruction_noise
        for number, noise_map in enumerate(singan.further_noise, start=2):
            objects[f"reconstruction_noise_{number}"] = noise_map
    return objects


def run_scales(config: Config, photograph: Photograph) -> Scales:
    """The scales of a run."""
    return plan_scales(photograph.height, photograph.width, config.pyramid)


def all_sizes(
    config: Config, photographs: Sequence[Photograph]
) -> list[list[tuple[int, int]]]:
    """(height, width) of the scales of each photograph; see `pyramid.plan_all`."""
    return plan_all([(each.height, each.width) for each in photographs], config)


def with_batch_setting(config: Config, other: Config) -> Config:
    """A configuration in which the batch is spelled as in another one."""
    batch = other.training.global_batch_size
    training = dataclasses.replace(config.training, global_batch_size=batch)
    return dataclasses.replace(config, training=training)


def _suffix(photograph: int) -> str:
    """What the name of a photograph's file has; people count them from 1."""
    return f"-{photograph + 1}" if photograph else ""


def _circumstances(data: dict[str, Any]) -> Circumstances:
    found = Circumstances(**data)
    if type(found.batch_size) not in (int, type(None)):
        raise TypeError("its number of samples in an update is none")
    if not isinstance(found.vgg_sha256, (str, type(None))):
        raise TypeError("the checksum of its texture loss's weights is no text")
    return found
