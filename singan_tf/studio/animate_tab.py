"""The tab that sets the photograph in motion."""

import pathlib
from collections.abc import Iterator
from typing import Any, Callable, Optional

import gradio as gr

from singan_tf import images
from singan_tf.studio import models, parts
from singan_tf.studio.models import Model
from singan_tf.studio.parts import Tab
from singan_tf.studio.session import Page, told
from singan_tf.tasks import animation

_MOST_FRAMES = 200
# Gradio knows by it that a function shows its progress.
_PROGRESS = gr.Progress()


def build(page: Page, chosen: gr.Dropdown, picked: gr.State) -> Tab:
    """Lays out the tab; see `parts.Tab`."""
    with gr.Row():
        with gr.Column(scale=1, min_width=240):
            start = gr.Slider(
                0, 8, 1, step=1, label="Start scale: the higher, the less moves"
            )
            alpha = gr.Slider(0, 1, 0.1, step=0.05, label="Pull to the photograph")
            beta = gr.Slider(0, 1, 0.9, step=0.05, label="Smoothness")
            frames = gr.Slider(2, _MOST_FRAMES, 30, step=1, label="Frames")
            seed = parts.seed()
            button = gr.Button("Animate", variant="primary", elem_id="animate")
            stop = gr.Button("Cancel")
        with gr.Column(scale=3):
            shown = gr.Image(label="Animation", interactive=False, elem_id="animation")
            command = parts.command()
            files = parts.files()

    draw = _drawer(page)
    event = button.click(
        draw,
        [chosen, start, alpha, beta, frames, seed],
        [shown, command, files],
        **parts.IN_TURN,
    )
    stop.click(None, cancels=[event])

    def fit(model: Model) -> list[Any]:
        last = len(model.sizes) - 1
        start = gr.Slider(maximum=last, value=min(1, last))
        return [start, parts.can(model, models.ANIMATE)]

    return Tab([start, button], fit)


def _drawer(page: Page) -> Callable:
    """What a click does."""

    def draw(
        name: Optional[str],
        start: int,
        alpha: float,
        beta: float,
        frames: int,
        seed: Optional[int],
        request: gr.Request,
        progress: gr.Progress = _PROGRESS,
    ) -> Iterator[tuple]:
        model, folder = page.model(name), page.folder(request)
        with told():
            seed = parts.check_seed(seed)
            walk = animation.Walk(start, float(alpha), float(beta), frames, False, seed)
            made = []
            for frame in model.animate(walk):
                made.append(images.to_uint8(frame[0]))
                progress((len(made), frames), unit="frames")
                # Here «Cancel» ends it.
                yield gr.skip(), gr.skip(), gr.skip()
            paths = []
            for suffix in [
                "webp",
                "gif",
                *(["mp4"] if images.can_write_films() else []),
            ]:
                paths.append(str(folder / f"animation.{suffix}"))
                images.write_animation(pathlib.Path(paths[-1]), made, 10.0)
            line = model.line(
                "animate",
                start_scale=start,
                alpha=float(alpha),
                beta=float(beta),
                frames=frames,
                seed=seed,
            )
            yield paths[0], line, paths

    return draw
