"""The tab that enlarges."""

from typing import Callable, Optional

import gradio as gr

from singan_tf import images
from singan_tf.studio import models, parts
from singan_tf.studio.parts import Tab
from singan_tf.studio.session import Page, told, write
from singan_tf.tasks import super_resolution


def build(page: Page, chosen: gr.Dropdown, picked: gr.State) -> Tab:
    """Lays out the tab; see `parts.Tab`."""
    with gr.Row():
        with gr.Column(scale=1, min_width=240):
            # The file itself, as it is: Gradio reads pictures in another way.
            upload = gr.Image(
                label="Picture; empty for the photograph",
                type="filepath",
                image_mode=None,
                format="png",
            )
            sample = gr.Button("The sample chosen last")
            factor = gr.Slider(1, 16, 4, step=0.5, label="Factor")
            strength = gr.Slider(
                0, 1, super_resolution.STRENGTH, step=0.05, label="Strength"
            )
            seed = parts.seed()
            button = gr.Button("Enlarge", variant="primary", elem_id="enlarge")
            stop = gr.Button("Cancel")
        with gr.Column(scale=3):
            compared = gr.ImageSlider(
                label="Bicubic, and enlarged", interactive=False, elem_id="enlarged"
            )
            command = parts.command()
            files = parts.files()

    draw = _drawer(page)
    event = button.click(
        draw,
        [chosen, upload, factor, strength, seed],
        [compared, command, files],
        **parts.IN_TURN,
    )
    stop.click(None, cancels=[event])
    sample.click(parts.picture_of, picked, upload)
    return Tab([button], lambda model: [parts.can(model, models.ENLARGE)])


def _drawer(page: Page) -> Callable:
    """What a click does."""

    def draw(
        name: Optional[str],
        upload: Optional[str],
        factor: float,
        strength: float,
        seed: Optional[int],
        request: gr.Request,
    ) -> tuple:
        model, folder = page.model(name), page.folder(request)
        with told():
            seed = parts.check_seed(seed)
            image = model.photograph
            if upload is not None:
                image = images.read(upload, image.shape[3])
            parts.check_sides(model, *image.shape[1:3])
            path = write(folder, "input.png", image)
            # In the levels of the file that the command line names.
            image = images.read(path, image.shape[3])
            size = [round(side * factor) for side in image.shape[1:3]]
            parts.check_area(*size)
            result = model.enlarge(image, float(factor), float(strength), seed)
            bicubic = super_resolution.enlarge(image, result.shape[1:3])
            made = [
                write(folder, "bicubic.png", bicubic),
                write(folder, "super_resolved.png", result),
            ]
            line = model.line(
                "super_resolve",
                input="input.png",
                factor=float(factor),
                strength=float(strength),
                seed=seed,
            )
            return tuple(made), line, [path, *made]

    return draw
