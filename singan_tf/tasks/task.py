"""A finished run that a command works on, and the folder for its results.

Every command opens its run here, before anything is computed, and leaves its results,
a contact sheet and, last, a call.json that says how they were made. What a person
should know of an input (that it was resized, how much of it a mask has inside) is a
note: printed, and kept in call.json.
"""

import pathlib
from typing import Any, NamedTuple, Optional

import numpy as np

import singan_tf
from singan_tf import files, images, stack
from singan_tf.config import Config
from singan_tf.errors import printable
from singan_tf.model.singan import SinGAN
from singan_tf.runs import loading
from singan_tf.runs.folder import RunFolder

SHEET_NAME = "contact_sheet.png"


class Task(NamedTuple):
    """A finished run, and the folder for what a command makes with it.

    Attributes:
        run: The run; only ever read.
        output_dir: Where results go; made by the first of them.
        singan: The run's trained pyramid.
        config: The run's configuration.
        notes: What a person should know of the inputs, in sentences.
    """

    run: RunFolder
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
        """The photograph at the finest scale, float32 [1, H, W, C] in [-1, 1].

        Of several photographs, the first.
        """
        return images.read(self.run.real(self.last), self.singan.channels)

    @property
    def photographs(self) -> list[np.ndarray]:
        """All photographs of the run, likewise."""
        return [
            images.read(self.run.real(self.last, number), self.singan.channels)
            for number in range(self.singan.num_photographs)
        ]

    @property
    def insides(self) -> list[Optional[list[np.ndarray]]]:
        """What of them counts at each scale, as `RunFolder.read_insides` tells it."""
        return self.run.read_insides(len(self.singan.sizes))

    @property
    def inside(self) -> Optional[np.ndarray]:
        """What of the photograph counts at the finest scale, bool [H, W]; None for all.

        Of several photographs, of the first.
        """
        first = self.insides[0]
        return None if first is None else first[-1]

    def note(self, sentence: str) -> None:
        """Prints a sentence, and keeps it for call.json."""
        self.notes.append(sentence)
        print(printable(sentence))

    def write(self, name: str, image: np.ndarray) -> None:
        """Writes a result: [1, H, W, C], [H, W, C] or a mask [H, W, 1]."""
        images.write(self.output_dir / name, image)

    def source(self) -> dict[str, Any]:
        """The run's identity, for call.json."""
        photograph, *further = self.run.photographs()
        more = [{"image": x.name, "image_sha256": x.sha256} for x in further]
        return {
            "name": self.run.path.resolve().name,
            "image": photograph.name,
            "image_sha256": photograph.sha256,
            **({"further_images": more} if more else {}),
            "config_sha256": images.sha256(self.run.config),
        }


def write_results(
    output_dir: pathlib.Path,
    cells: dict[str, np.ndarray],
    call: dict[str, Any],
    **sheet: int,
) -> pathlib.Path:
    """Writes contact_sheet.png and call.json, the last files of a command.

    Args:
        output_dir: Where to.
        cells: Images of the sheet by caption, each [1, H, W, C] or [H, W, C].
        call: What was done, JSON values by name; the versions are added.
        **sheet: How the sheet is laid out, as for `images.contact_sheet`.

    Returns:
        The sheet's path.
    """
    path = output_dir / SHEET_NAME
    images.write(path, images.contact_sheet(list(cells.values()), list(cells), **sheet))
    made_by = {"version": singan_tf.__version__, "stack": stack.versions()}
    files.write_json(output_dir / "call.json", {**made_by, **call})
    return path


def open_task(run: RunFolder, output_dir: pathlib.Path) -> Task:
    """Loads a finished run.

    Args:
        run: The run.
        output_dir: Where results will go.

    Raises:
        UserError: if there is no run, it is damaged or it is not finished.
    """
    singan, config = loading.load(run)
    return Task(run, output_dir, singan, config, [])
