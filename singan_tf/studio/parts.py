"""What the tabs of the studio have in common: parts of the page, their content."""

import pathlib
from typing import Any, Callable, NamedTuple, Optional

import gradio as gr
import numpy as np
from scipy.cluster import vq

from singan_tf import config as config_lib
from singan_tf import images
from singan_tf.studio.models import Model
from singan_tf.tasks import inputs, painting

_SWATCHES = 8
# What computes waits for its turn with others of this id: one goes on at a time.
IN_TURN = {"concurrency_id": "draw", "concurrency_limit": 1}
# What fills an editor at once shows no progress: Gradio's editor may go on showing it
# when the picture is there, and what it covers cannot be painted on.
AT_ONCE = {"show_progress": "hidden"}


class Tab(NamedTuple):
    """A tab that is laid out.

    Attributes:
        outputs: Its parts that differ from model to model.
        fit: Gives their updates for a model, in that order.
    """

    outputs: list[Any]
    fit: Callable[[Model], list[Any]]


def seed() -> gr.Number:
    """Where the seed is given."""
    return gr.Number(0, label="Seed", precision=0)


def command() -> gr.Textbox:
    """Where the command line of a result stands."""
    return gr.Textbox(
        label="The same from the command line",
        interactive=False,
        buttons=["copy"],
        elem_classes="command",
    )


def pictures(label: str, **options: Any) -> gr.Gallery:
    """Where results are shown; a click enlarges one."""
    return gr.Gallery(
        label=label, format="png", object_fit="contain", interactive=False, **options
    )


def files() -> gr.Files:
    """Where files are downloaded."""
    return gr.Files(label="Files", interactive=False)


def can(model: Model, ability: str) -> Any:
    """A button, in a state that says whether a model can do what it asks for."""
    return gr.Button(interactive=ability in model.abilities)


def injection(model: Model) -> Any:
    """The slider of the injection scale, for a model."""
    last = len(model.sizes) - 1
    return gr.Slider(maximum=max(last, 1), value=max(1, last // 2))


def path_of(event: gr.SelectData) -> str:
    """The file of the picture that was clicked in a gallery."""
    return event.value["image"]["path"]


def picture_of(picked: Optional[str]) -> np.ndarray:
    """The sample that was clicked last, as the page's parts take pictures."""
    if not picked:
        raise gr.Error("Click a sample first, in the tab Sample.")
    return levels(images.read(picked))


def check_seed(seed: Optional[int]) -> int:
    """The seed that was given, as the commands take it.

    Raises:
        ValueError: if it is none.
    """
    if seed is None or not 0 <= seed <= config_lib.MAX_SEED:
        raise ValueError("The seed must be a whole number from 0 to 2^62; give one.")
    return seed


def check_sides(model: Model, height: int, width: int) -> None:
    """Refuses an image that leaves the model's coarsest scale nothing.

    Raises:
        ValueError: if it does.
    """
    least_height, least_width = map(inputs.least_side, model.sizes[-1], model.sizes[0])
    if height < least_height or width < least_width:
        raise ValueError(
            f"{width}x{height} pixels are too few: with this model an image must be at "
            f"least {least_width}x{least_height}; choose a larger size."
        )


def check_area(height: int, width: int) -> None:
    """Refuses an image that is too large, or none.

    Raises:
        ValueError: if it is.
    """
    if not (height > 0 and width > 0 and height * width <= config_lib.MAX_PIXELS):
        raise ValueError(
            f"{width}x{height} pixels are not from 1 to "
            f"{config_lib.MAX_PIXELS // 10**6} megapixels; choose another size."
        )


def editor(label: str, name: str) -> gr.ImageEditor:
    """Where a person paints; its content is uint8 [H, W, 4] by layer."""
    return gr.ImageEditor(
        label=label,
        elem_id=name,
        type="numpy",
        image_mode="RGBA",
        format="png",
        sources=["upload", "clipboard"],
        transforms=(),
        height=460,
    )


def levels(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3], as the page's parts take pictures."""
    return images.to_uint8(np.repeat(image[0], 3 // image.shape[3], axis=2))


def blank(model: Model, colours: list[str]) -> np.ndarray:
    """A canvas of the most frequent colour of a `palette`, uint8 [H, W, 3]."""
    canvas = np.empty_like(levels(model.photograph))
    canvas[:] = tuple(bytes.fromhex(colours[0][1:]))
    return canvas


def palette(model: Model) -> list[str]:
    """The photograph's main colours as #rrggbb, the most frequent first."""
    pixels = levels(model.photograph)
    palette = painting.find_palette(pixels, _SWATCHES)
    nearest, _ = vq.vq(pixels.reshape(-1, 3), palette)
    ordered = palette[np.argsort(-np.bincount(nearest), kind="stable")]
    return [f"#{bytes(each).hex()}" for each in ordered.astype(np.uint8)]


def brush(colours: list[str]) -> gr.Brush:
    """A brush in the colours of a `palette`, at first in another than the canvas."""
    first, *others = colours
    return gr.Brush(colors=[*others, first], default_size=12)


def composite(value: Optional[dict]) -> np.ndarray:
    """What a person sees in an editor, uint8 [H, W, 3]."""
    if not value or value.get("composite") is None:
        raise ValueError("There is no picture yet: load one, or start with a canvas.")
    return on_white(value["composite"])


def on_white(layer: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 4] without its alpha, as `images.read` reads it, uint8 [H, W, 3]."""
    return images.to_uint8(2 * images.on_white(layer.astype(np.float32) / 255) - 1)


def keep(folder: pathlib.Path, name: str, levels: np.ndarray) -> pathlib.Path:
    """Writes what came from the page; uint8 [H, W] or [H, W, 3 or 4]."""
    path = folder / name
    images.write(path, levels.reshape(*levels.shape[:2], -1))
    return path
