"""The tab that trains: a photograph in, a model for the other tabs out."""

import pathlib
import re
import shutil
from typing import Any, Optional

import gradio as gr
import numpy as np

from singan_tf import images, presets
from singan_tf.studio import parts
from singan_tf.studio.session import Page, told

_PHOTOGRAPHS = (
    "",
    "coffee",
    "rocket",
    "chelsea",
    "astronaut",
    "brick",
    "grass",
    "gravel",
)
# Seconds between two looks at a training.
_POLL = 2.0


def build(page: Page, chosen: gr.Dropdown, all_tabs: gr.Tabs) -> None:
    """Lays out the tab.

    Args:
        page: What all tabs share; it trains.
        chosen: Where the model is chosen: a run that is finished is put in.
        all_tabs: The page's tabs, to turn to the next.
    """
    trainings = page.source.trainings
    with gr.Row():
        with gr.Column(scale=1, min_width=260):
            photograph = gr.File(label="Photograph", height=140, elem_id="photograph")
            preview = gr.Image(
                label="As it is read",
                interactive=False,
                visible=False,
                elem_id="preview",
            )
            known = gr.Dropdown(
                _PHOTOGRAPHS, value="", label="Or one that is at hand", elem_id="known"
            )
            preset = gr.Dropdown(
                presets.names(), value="quick", label="Preset", elem_id="preset"
            )
            name = gr.Textbox(label="Name of the run", max_lines=1, elem_id="name")
            start = gr.Button(
                "Train, or go on", variant="primary", elem_id="train-start"
            )
            stop = gr.Button("Stop", elem_id="train-stop")
        with gr.Column(scale=2):
            state = gr.Textbox(
                label="Progress", interactive=False, lines=2, elem_id="progress"
            )
            gallery = gr.Gallery(
                label="Scales so far, coarse to fine",
                columns=4,
                format="png",
                interactive=False,
                object_fit="contain",
            )
    timer = gr.Timer(_POLL, active=False)
    shown = [state, gallery, timer, chosen, all_tabs]

    def begin(path: Optional[str], known: str, preset: str, name: str) -> list[Any]:
        with told():
            source = known or path
            if not source:
                raise ValueError("Drop a photograph, or choose one.")
            name = name.strip() or _name_of(source)
            if not known:
                # Training may go on when this session's files are gone.
                source = str(_kept(pathlib.Path(source), trainings.path(name)))
            _read(source)
            trainings.start(source, name, preset)
        return [name, *look(name)]

    def look(name: str) -> list[Any]:
        if not name:
            return [gr.skip()] * len(shown)
        with told():
            progress = trainings.progress(name)
        text = progress.text
        if progress.finished and not progress.running:
            update = gr.Dropdown(choices=page.source.names(), value=name)
            done = f"{name} is trained: choose a tab."
            return [done, progress.pictures, gr.Timer(active=False), update, gr.skip()]
        timer = gr.Timer(active=progress.running)
        return [text, progress.pictures, timer, gr.skip(), gr.skip()]

    def end(name: str) -> list[Any]:
        with told():
            trainings.stop(trainings.path(name).name)
        state, *rest = look(name)
        return [f"Stopped; «Train, or go on» goes on. {state}", *rest]

    photograph.change(_preview, photograph, preview)
    start.click(begin, [photograph, known, preset, name], [name, *shown])
    stop.click(end, name, shown)
    timer.tick(look, name, shown, show_progress="hidden", concurrency_limit=None)


def _read(source: str) -> np.ndarray:
    """The photograph as training reads it, refused as training would."""
    path = images.resolve(source)
    photograph = images.read(path)
    images.check_photograph(path, photograph)
    return photograph


def _preview(path: Optional[str]) -> Any:
    if not path:
        return gr.Image(value=None, visible=False)
    with told():
        return gr.Image(value=parts.levels(_read(path)), visible=True)


def _name_of(source: str) -> str:
    return re.sub(r"[^\w.-]+", "_", pathlib.Path(source).stem).strip("._") or "run"


def _kept(path: pathlib.Path, run_dir: pathlib.Path) -> pathlib.Path:
    """The uploaded photograph, copied to where its run will be."""
    kept = run_dir.with_name(run_dir.name + path.suffix)
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, kept)
    return kept
