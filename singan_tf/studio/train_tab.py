"""The tab that trains: a photograph in, a model for the other tabs out."""

import pathlib
import re
import shutil
from typing import Any, Callable, Optional

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
# Where a browser keeps the name of the run that it began last.
_KEY = "singan_run"


def build(page: Page, chosen: gr.Dropdown, blocks: gr.Blocks) -> None:
    """Lays out the tab.

    Args:
        page: What all tabs share; it trains.
        chosen: Where the model is chosen: a run that is finished is put in.
        blocks: The page.
    """
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
            start = gr.Button("Train", variant="primary", elem_id="train-start")
            stop = gr.Button("Stop", elem_id="train-stop")
            resume = gr.Button("Go on with the run of this name", elem_id="train-on")
        with gr.Column(scale=2):
            state = gr.Textbox(
                label="Progress", interactive=False, lines=2, elem_id="progress"
            )
            gallery = parts.pictures("Scales so far, coarse to fine", columns=4)
    timer = gr.Timer(_POLL, active=False)
    shown = [name, state, gallery, timer, chosen]
    look = _looker(page)
    begin, go_on, end = _starter(page, look)

    photograph.change(_preview, photograph, preview)
    started = start.click(begin, [photograph, known, preset, name], shown)
    resume.click(go_on, name, shown)
    stop.click(end, name, shown)
    gr.on([name.submit, name.blur], look, name, shown, show_progress="hidden")
    timer.tick(look, name, shown, show_progress="hidden", concurrency_limit=None)
    # A page that is opened again in the same browser shows the run that it began.
    started.then(None, name, None, js=f"name => localStorage.setItem('{_KEY}', name)")
    blocks.load(
        look,
        name,
        shown,
        show_progress="hidden",
        js=f"() => localStorage.getItem('{_KEY}') || ''",
    )


def _looker(page: Page) -> Callable:
    """What tells how far a run is."""
    trainings = page.source.trainings

    def look(name: str) -> list[Any]:
        if not name:
            return [gr.skip()] * 5
        with told():
            progress = trainings.progress(name)
        if progress.finished and not progress.running:
            update = gr.Dropdown(choices=page.source.names(), value=name)
            text = f"{name} is trained: choose a tab."
            return [name, text, progress.pictures, gr.Timer(active=False), update]
        timer = gr.Timer(active=progress.running)
        return [name, progress.text, progress.pictures, timer, gr.skip()]

    return look


def _starter(page: Page, look: Callable) -> tuple[Callable, Callable, Callable]:
    """What starts a training, goes on with one, and stops one."""
    trainings = page.source.trainings

    def begin(path: Optional[str], known: str, preset: str, name: str) -> list[Any]:
        with told():
            source = known or path
            if not source:
                raise ValueError("Drop a photograph, or choose one.")
            _read(source)
            name = name.strip() or _name_of(source)
            if not known:
                # Training may go on when this session's files are gone.
                source = str(_kept(pathlib.Path(source), trainings.path(name)))
            trainings.start(source, name, preset)
        return look(name)

    def go_on(name: str) -> list[Any]:
        with told():
            trainings.go_on(name.strip())
        return look(name.strip())

    def end(name: str) -> list[Any]:
        with told():
            trainings.path(name)
            trainings.stop(name)
        return look(name)

    return begin, go_on, end


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
    """The uploaded photograph, copied to beside its run, never over another one."""
    kept = run_dir.with_name(f"{run_dir.name}_{images.sha256(path)[:8]}{path.suffix}")
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, kept)
    return kept
