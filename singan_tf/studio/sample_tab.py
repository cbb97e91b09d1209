"""The tab that draws random samples."""

from collections.abc import Iterator
from typing import Any, Callable, Optional

import gradio as gr

from singan_tf.studio import models, parts
from singan_tf.studio.models import Model
from singan_tf.studio.parts import Tab
from singan_tf.studio.session import Page, told, write

_MOST_SAMPLES = 16


def build(page: Page, chosen: gr.Dropdown, picked: gr.State) -> Tab:
    """Lays out the tab; see `parts.Tab`."""
    with gr.Row():
        with gr.Column(scale=1, min_width=240):
            seed = gr.Number(0, label="First seed", precision=0)
            count = gr.Slider(1, _MOST_SAMPLES, 4, step=1, label="Samples")
            height = gr.Number(None, label="Height, pixels", precision=0)
            width = gr.Number(None, label="Width, pixels", precision=0)
            start = gr.Slider(
                0, 8, 0, step=1, label="Start scale: the higher, the less changes"
            )
            noise = gr.Slider(
                0, 2, 1, step=0.05, label="Diversity: the factor of the noise"
            )
            retarget = gr.Checkbox(
                label="At another size, carve the layout in place of stretching it "
                "(start scale 1 or higher, diversity 1)"
            )
            button = gr.Button("Draw samples", variant="primary", elem_id="draw")
            stop = gr.Button("Cancel")
        with gr.Column(scale=3):
            gallery = parts.pictures("Samples", columns=4, elem_id="samples")
            command = parts.command()
            files = parts.files()

    draw = _drawer(page)
    event = button.click(
        draw,
        [chosen, seed, count, height, width, start, noise, retarget],
        [gallery, command, files],
        api_name="sample",
        **parts.IN_TURN,
    )
    stop.click(None, cancels=[event])
    gallery.select(parts.path_of, None, picked, show_progress="hidden")

    def fit(model: Model) -> list[Any]:
        full_height, full_width = model.sizes[-1]
        return [
            gr.Slider(maximum=len(model.sizes) - 1, value=0),
            full_height,
            full_width,
            gr.Checkbox(value=False, interactive=models.RETARGET in model.abilities),
            parts.can(model, models.SAMPLE),
        ]

    return Tab([start, height, width, retarget, button], fit)


def _drawer(page: Page) -> Callable:
    """What a click does."""

    def draw(
        name: Optional[str],
        seed: Optional[int],
        count: int,
        height: Optional[int],
        width: Optional[int],
        start: int,
        noise: float,
        retarget: bool,
        request: gr.Request,
    ) -> Iterator[tuple]:
        model, folder = page.model(name), page.folder(request)
        with told():
            seed = parts.check_seed(seed)
            full_height, full_width = model.sizes[-1]
            # Fields that are empty yet give 0.
            height, width = height or full_height, width or full_width
            parts.check_sides(model, height, width)
            parts.check_area(height, width)
            if retarget:
                start = max(start, 1)
            made = []
            for each in range(seed, seed + count):
                if retarget:
                    image = models.retarget(model, (height, width), start, each)
                else:
                    image = model.sample(each, start, (height, width), float(noise))
                made.append(
                    (write(folder, f"seed_{each:06d}.png", image), f"seed {each}")
                )
                yield made, gr.skip(), gr.skip()
            line = model.line(
                "sample",
                seed=seed,
                num_samples=count,
                height=height,
                width=width,
                start_scale=start,
                noise_scale=None if retarget else float(noise),
                retarget=retarget or None,
            )
            yield made, line, [path for path, _ in made]

    return draw
