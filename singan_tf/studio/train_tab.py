"""The tab that trains: a photograph in, a model for the other tabs out."""

import pathlib
import re
import shutil
from typing import Any, Callable, Optional

import gradio as gr
import numpy as np

from singan_tf import files, images, photographs, presets
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
            photograph, known = _photographs()
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
    # The name of the run whose progress is shown: another may be typed meanwhile.
    watched = gr.State("")
    shown = [state, gallery, timer, chosen]
    look = _looker(page)
    begin, go_on, end = _starter(page, look)
    # No look waits for another one.
    at_once = {"show_progress": "hidden", "concurrency_limit": None}

    started = start.click(
        begin, [photograph, known, preset, name], [*shown, watched, name]
    )
    resume.click(go_on, name, [*shown, watched])
    stop.click(end, [name, watched], [*shown, watched])
    gr.on([name.submit, name.blur], look, name, [*shown, watched], **at_once)
    # A name that is being typed stays as it is.
    timer.tick(lambda name: look(name)[:-1], watched, shown, **at_once)
    # A page that is opened again in the same browser shows the run that it began.
    started.success(
        None, name, None, js=f"name => localStorage.setItem('{_KEY}', name)"
    )
    blocks.load(
        lambda name: _and_name(look(name)),
        name,
        [*shown, watched, name],
        js=f"() => localStorage.getItem('{_KEY}') || ''",
        **at_once,
    )


def _photographs() -> tuple[gr.File, gr.Dropdown]:
    """Where a photograph is dropped, and shown, or chosen."""
    photograph = gr.File(label="Photograph", height=140, elem_id="photograph")
    preview = gr.Image(
        label="As it is read", interactive=False, visible=False, elem_id="preview"
    )
    known = gr.Dropdown(
        _PHOTOGRAPHS, value="", label="Or one that is at hand", elem_id="known"
    )
    photograph.change(_preview, photograph, preview)
    return photograph, known


def _looker(page: Page) -> Callable:
    """What tells how far a run is; of a name that has none, nothing."""
    trainings = page.source.trainings

    def look(name: str) -> list[Any]:
        name = name.strip()
        with told():
            progress = trainings.progress(name) if name else None
        if progress is None:
            return [gr.skip()] * 5
        if progress.finished and not progress.running:
            update = gr.Dropdown(choices=page.source.names(), value=name)
            text = f"{name} is trained: choose a tab."
            return [text, progress.pictures, gr.Timer(active=False), update, name]
        timer = gr.Timer(active=progress.running)
        return [progress.text, progress.pictures, timer, gr.skip(), name]

    return look


def _and_name(updates: list[Any]) -> list[Any]:
    """What `look` gave, and the watched run's name into its field, too."""
    return [*updates, updates[-1]]


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
                kept = _kept(pathlib.Path(source), trainings.path(name))
                trainings.check(str(kept), name, preset)
                # Whole: the same photograph may be read by its training now.
                with files.replacing(kept) as temporary:
                    shutil.copyfile(source, temporary)
                source = str(kept)
            trainings.start(source, name, preset)
        return _and_name(look(name))

    def go_on(name: str) -> list[Any]:
        with told():
            trainings.go_on(name.strip())
        return look(name.strip())

    def end(name: str, watched: str) -> list[Any]:
        name = name.strip()
        # What is typed may be the name of the next one.
        stopped = name if trainings.is_running(name) else watched
        trainings.stop(stopped)
        return look(stopped)

    return begin, go_on, end


def _read(source: str) -> np.ndarray:
    """The photograph as training reads it, refused as training would."""
    return photographs.read(images.resolve(source), 3).image


def _preview(path: Optional[str]) -> Any:
    if not path:
        return gr.Image(value=None, visible=False)
    with told():
        return gr.Image(value=parts.levels(_read(path)), visible=True)


def _name_of(source: str) -> str:
    return re.sub(r"[^\w.-]+", "_", pathlib.Path(source).stem).strip("._") or "run"


def _kept(path: pathlib.Path, run_dir: pathlib.Path) -> pathlib.Path:
    """Where an uploaded photograph is kept, beside its run; another's is elsewhere."""
    return run_dir.with_name(f"{run_dir.name}_{images.sha256(path)[:8]}{path.suffix}")
