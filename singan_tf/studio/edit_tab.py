"""The tab that blends in what a person pasted, brushed or left out."""

from typing import Any, Callable, Optional

import gradio as gr
import numpy as np

from singan_tf.studio import models, parts
from singan_tf.studio.models import Model
from singan_tf.studio.parts import Tab
from singan_tf.studio.session import Page, told, write
from singan_tf.tasks.maskings import MASKINGS

_FIRST = "edit"


def build(page: Page, chosen: gr.Dropdown, picked: gr.State) -> Tab:
    """Lays out the tab; see `parts.Tab`."""
    first = MASKINGS[_FIRST]
    with gr.Row():
        with gr.Column():
            way = gr.Radio(list(MASKINGS), value=_FIRST, label="What to do")
            editor = parts.editor("Picture: paste or brush what is to change", "edited")
            sample = gr.Button("The sample chosen last")
            mask = parts.editor(
                "Mask: load or brush it; left as it is: what changed", "mask"
            )
        with gr.Column():
            scale = gr.Slider(
                1, 8, 4, step=1, label="Injection scale: the lower, the more changes"
            )
            radius = gr.Slider(
                0, 100, first.radius, step=1, label="Mask wider by, pixels"
            )
            sigma = gr.Slider(
                0, 30, first.sigma, step=0.5, label="Mask's softness, pixels"
            )
            seed = parts.seed()
            with gr.Row():
                button = gr.Button("Blend in", variant="primary", elem_id="blend")
                stop = gr.Button("Cancel")
            gallery = parts.pictures("Results", columns=2, elem_id="blended")
            command = parts.command()
            files = parts.files()

    draw = _drawer(page)
    event = button.click(
        draw,
        [chosen, way, editor, mask, scale, radius, sigma, seed],
        [gallery, command, files],
        **parts.IN_TURN,
    )
    stop.click(None, cancels=[event])
    sample.click(parts.picture_of, picked, editor, **parts.AT_ONCE)
    way.change(
        lambda way: [MASKINGS[way].radius, MASKINGS[way].sigma], way, [radius, sigma]
    )

    def fit(model: Model) -> list[Any]:
        photograph = parts.levels(model.photograph)
        brush = parts.brush(parts.palette(model))
        white = gr.Brush(colors=["#ffffff"], default_size=24)
        return [
            gr.ImageEditor(value=photograph, brush=brush),
            gr.ImageEditor(value=photograph, brush=white),
            parts.injection(model),
            parts.can(model, models.REDRAW),
        ]

    return Tab([editor, mask, scale, button], fit)


def _drawer(page: Page) -> Callable:
    """What a click does."""

    def draw(
        name: Optional[str],
        way: str,
        editor: Optional[dict],
        mask: Optional[dict],
        scale: int,
        radius: int,
        sigma: float,
        seed: Optional[int],
        request: gr.Request,
    ) -> tuple:
        model, folder = page.model(name), page.folder(request)
        with told():
            seed = parts.check_seed(seed)
            path = parts.keep(folder, "input.png", parts.composite(editor))
            inside = _mask(mask, editor, parts.levels(model.photograph))
            hidden = parts.keep(folder, "mask.png", inside)
            masking = MASKINGS[way]._replace(radius=radius, sigma=float(sigma))
            image, softened, _ = models.read_masked(model, path, hidden, masking)
            given = write(folder, models.GIVEN, image)
            redrawn, blended = model.blend(image, softened, scale, seed)
            stem = f"scale_{scale:02d}"
            made = [
                (write(folder, f"{stem}_blended.png", blended), "blended"),
                (write(folder, f"{stem}.png", redrawn), "redrawn, unblended"),
                (write(folder, models.SOFTENED, 2 * softened[..., None] - 1), "mask"),
            ]
            line = model.line(
                way,
                input=path.name,
                mask=hidden.name,
                mask_radius=radius,
                mask_sigma=float(sigma),
                injection_scale=scale,
                seed=seed,
            )
            inputs = [str(path), str(hidden), given]
            return made, line, [*inputs, *(each for each, _ in made)]

    return draw


def _mask(mask: Optional[dict], editor: dict, photograph: np.ndarray) -> np.ndarray:
    """The mask as a picture, as `masks.read` takes it.

    Args:
        mask: What the mask's editor gives.
        editor: What the picture's editor gives, with a picture.
        photograph: uint8 [H, W, 3].

    Returns:
        A picture that was loaded as the mask, with what is brushed over it, uint8
        [H, W, 4]; or else uint8 [H, W], 255 where a mask was brushed on any layer, or
        where nothing was, what `_changed` finds.

    Raises:
        ValueError: as `_changed` does.
    """
    mask = mask or {}
    loaded = mask.get("background")
    if loaded is not None:
        # To brush at the right place, a person may load the picture here, too.
        brushed_over = [photograph, parts.composite(editor)]
        if editor.get("background") is not None:
            brushed_over.append(parts.on_white(editor["background"]))
        levels = parts.on_white(loaded)
        if not any(np.array_equal(levels, each) for each in brushed_over):
            return mask["composite"]
    layers = [layer[..., 3] > 0 for layer in mask.get("layers", [])]
    if not np.any(layers):
        return 255 * _changed(editor, photograph).astype(np.uint8)
    return 255 * np.logical_or.reduce(layers).astype(np.uint8)


def _changed(editor: dict, photograph: np.ndarray) -> np.ndarray:
    """What a person changed in a picture, bool [H, W].

    Args:
        editor: What `parts.editor` gives, with a picture.
        photograph: uint8 [H, W, 3].

    Returns:
        What lies over the picture that was loaded, or where nothing does, where that
        differs from the photograph: an edit that another program made.

    Raises:
        ValueError: if there is nothing.
    """
    picture, background = parts.composite(editor), editor.get("background")
    if background is not None and background.shape[:2] == picture.shape[:2]:
        changed = (picture != parts.on_white(background)).any(axis=2)
        if changed.any():
            return changed
    if picture.shape != photograph.shape:
        raise ValueError("The picture is another than the photograph: brush the mask.")
    changed = (picture != photograph).any(axis=2)
    if not changed.any():
        raise ValueError("Nothing was changed: brush the picture, or the mask.")
    return changed
