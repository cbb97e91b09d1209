"""The tab that turns a painting into an image."""

from collections.abc import Iterator
from typing import Any, Callable, Optional

import gradio as gr
import numpy as np

from singan_tf.config import MAX_COLOURS
from singan_tf.studio import models, parts
from singan_tf.studio.models import Model
from singan_tf.studio.parts import Tab
from singan_tf.studio.session import Page, told, write


def build(page: Page, chosen: gr.Dropdown, picked: gr.State) -> Tab:
    """Lays out the tab; see `parts.Tab`."""
    with gr.Row():
        with gr.Column():
            canvas = parts.editor("Painting", "painting")
            with gr.Row():
                blank = gr.Button("Blank canvas")
                over = gr.Button("The photograph")
                sample = gr.Button("The sample chosen last")
        with gr.Column():
            scale = gr.Slider(
                1, 8, 4, step=1, label="Injection scale: the lower, the more changes"
            )
            colours = _colours()
            seed = parts.seed()
            with gr.Row():
                button = gr.Button("Paint", variant="primary", elem_id="paint")
                strip = gr.Button("All scales")
                stop = gr.Button("Cancel")
            gallery = parts.pictures("Results", columns=2, elem_id="painted")
            command = parts.command()
            files = parts.files()

    draw_one, draw_all = _drawers(page)

    def empty(name: Optional[str]) -> np.ndarray:
        model = page.model(name)
        return parts.blank(model, parts.palette(model))

    shown = [gallery, command, files]
    one = gr.on(
        [button.click, scale.release],
        draw_one,
        [chosen, canvas, scale, colours, seed],
        shown,
        **parts.IN_TURN,
    )
    every = strip.click(
        draw_all, [chosen, canvas, colours, seed], shown, **parts.IN_TURN
    )
    stop.click(None, cancels=[one, every])
    blank.click(empty, chosen, canvas, **parts.AT_ONCE)
    over.click(
        lambda name: parts.levels(page.model(name).photograph),
        chosen,
        canvas,
        **parts.AT_ONCE,
    )
    sample.click(parts.picture_of, picked, canvas, **parts.AT_ONCE)

    def fit(model: Model) -> list[Any]:
        colours = parts.palette(model)
        canvas = gr.ImageEditor(
            value=parts.blank(model, colours), brush=parts.brush(colours)
        )
        return [canvas, parts.injection(model), parts.can(model, models.REDRAW)]

    return Tab([canvas, scale, button], fit)


def _colours() -> gr.Slider:
    label = "Snap it to so many main colours of the photograph; 0: leave it"
    return gr.Slider(0, MAX_COLOURS, 0, step=1, label=label)


def _drawers(page: Page) -> tuple[Callable, Callable]:
    """What a click does: of one scale, and of all."""
    draw = _drawer(page)

    def draw_one(
        name, canvas, scale, colours, seed, request: gr.Request
    ) -> Iterator[tuple]:
        yield from draw(name, canvas, [scale], colours, seed, request)

    def draw_all(name, canvas, colours, seed, request: gr.Request) -> Iterator[tuple]:
        scales = list(range(1, len(page.model(name).sizes)))
        yield from draw(name, canvas, scales, colours, seed, request)

    return draw_one, draw_all


def _drawer(page: Page) -> Callable:
    """What draws a painting at some scales."""

    def draw(
        name: Optional[str],
        canvas: Optional[dict],
        scales: list[int],
        colours: int,
        seed: Optional[int],
        request: gr.Request,
    ) -> Iterator[tuple]:
        model, folder = page.model(name), page.folder(request)
        with told():
            seed = parts.check_seed(seed)
            path = parts.keep(folder, "painting.png", parts.composite(canvas))
            image, _ = models.read_input(model, path, colours)
            given = write(folder, models.GIVEN, image)
            made = []
            for each in scales:
                result = model.redraw(image, each, seed)
                made.append(
                    (write(folder, f"scale_{each:02d}.png", result), f"scale {each}")
                )
                yield made, gr.skip(), gr.skip()
            line = model.line(
                "paint",
                input=path.name,
                injection_scale=scales[0] if len(scales) == 1 else "all",
                palette=colours or None,
                seed=seed,
            )
            yield made, line, [str(path), given, *(each for each, _ in made)]

    return draw
