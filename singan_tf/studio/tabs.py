"""The tabs that draw with a model: sample, paint, edit, enlarge, animate.

Each is a function that lays out its parts and tells how they fit a model.
"""

import pathlib
from collections.abc import Iterator
from typing import Any, Callable, NamedTuple, Optional

import gradio as gr
import numpy as np
from scipy.cluster import vq

from singan_tf import config as config_lib
from singan_tf import images
from singan_tf.studio import models
from singan_tf.studio.models import Model
from singan_tf.studio.session import Page, told, write
from singan_tf.tasks import animation, blending, painting

_MOST_SAMPLES = 16
_SWATCHES = 8
# What each way to blend is called, and its radius and blur in pixels, those of the
# commands.
_WAYS = {"edit": (20, 5.0), "harmonize": (7, 5.0), "inpaint": (7, 3.0)}
_MOST_FRAMES = 200
# Gradio knows by it that a function shows its progress.
_PROGRESS = gr.Progress()


class Tab(NamedTuple):
    """A tab that is laid out.

    Attributes:
        outputs: Its parts that differ from model to model.
        fit: Gives their updates for a model, in that order.
    """

    outputs: list[Any]
    fit: Callable[[Model], list[Any]]


def _seed() -> gr.Number:
    return gr.Number(0, label="Seed", precision=0)


def _command() -> gr.Textbox:
    return gr.Textbox(
        label="The same from the command line",
        interactive=False,
        buttons=["copy"],
        elem_classes="command",
    )


def _pictures(label: str, **options: Any) -> gr.Gallery:
    return gr.Gallery(
        label=label, format="png", object_fit="contain", interactive=False, **options
    )


def _files() -> gr.Files:
    return gr.Files(label="Files", interactive=False)


def _can(model: Model, ability: str) -> Any:
    """A button, in a state that says whether a model can do what it asks for."""
    return gr.Button(interactive=ability in model.abilities)


def _injection(model: Model) -> Any:
    last = len(model.sizes) - 1
    return gr.Slider(maximum=max(last, 1), value=max(1, last // 2))


def _sample(page: Page, chosen: gr.Dropdown, picked: gr.State) -> Tab:
    with gr.Row():
        with gr.Column(scale=1, min_width=240):
            seed = gr.Number(0, label="First seed", precision=0)
            count = gr.Slider(1, _MOST_SAMPLES, 4, step=1, label="Samples")
            height = gr.Number(250, label="Height, pixels", precision=0)
            width = gr.Number(250, label="Width, pixels", precision=0)
            start = gr.Slider(
                0, 8, 0, step=1, label="Start scale: the higher, the less changes"
            )
            noise = gr.Slider(
                0, 2, 1, step=0.05, label="Diversity: the factor of the noise"
            )
            button = gr.Button("Draw samples", variant="primary", elem_id="draw")
            stop = gr.Button("Cancel")
        with gr.Column(scale=3):
            gallery = _pictures("Samples", columns=4, elem_id="samples")
            command = _command()
            files = _files()

    def draw(
        name: Optional[str],
        seed: int,
        count: int,
        height: int,
        width: int,
        start: int,
        noise: float,
        request: gr.Request,
    ) -> Iterator[tuple]:
        model, folder = page.model(name), page.folder(request)
        with told():
            _check_area(height, width)
            made = []
            for each in range(seed, seed + count):
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
                noise_scale=float(noise),
            )
            yield made, line, [path for path, _ in made]

    event = button.click(
        draw,
        [chosen, seed, count, height, width, start, noise],
        [gallery, command, files],
        api_name="sample",
    )
    stop.click(None, cancels=[event])
    gallery.select(_path_of, None, picked, show_progress="hidden")

    def fit(model: Model) -> list[Any]:
        full_height, full_width = model.sizes[-1]
        return [
            gr.Slider(maximum=len(model.sizes) - 1, value=0),
            full_height,
            full_width,
            _can(model, models.SAMPLE),
        ]

    return Tab([start, height, width, button], fit)


def _path_of(event: gr.SelectData) -> str:
    """The file of the picture that was clicked in a gallery."""
    return event.value["image"]["path"]


def _picture_of(picked: Optional[str]) -> np.ndarray:
    """The sample that was clicked last, as the page's parts take pictures."""
    if not picked:
        raise gr.Error("Click a sample first, in the tab Sample.")
    return _levels(images.read(picked))


def _check_area(height: int, width: int) -> None:
    if not (height > 0 and width > 0 and height * width <= config_lib.MAX_PIXELS):
        raise ValueError(
            f"{width}x{height} pixels are not from 1 to "
            f"{config_lib.MAX_PIXELS // 10**6} megapixels; choose another size."
        )


def _paint(page: Page, chosen: gr.Dropdown, picked: gr.State) -> Tab:
    with gr.Row():
        with gr.Column():
            canvas = _editor("Painting", "painting")
            with gr.Row():
                blank = gr.Button("Blank canvas")
                over = gr.Button("The photograph")
                sample = gr.Button("The sample chosen last")
        with gr.Column():
            scale = gr.Slider(
                1, 8, 4, step=1, label="Injection scale: the lower, the more changes"
            )
            seed = _seed()
            with gr.Row():
                button = gr.Button("Paint", variant="primary", elem_id="paint")
                strip = gr.Button("All scales")
                stop = gr.Button("Cancel")
            gallery = _pictures("Results", columns=2, elem_id="painted")
            command = _command()
            files = _files()

    def draw(
        name: Optional[str],
        canvas: Optional[dict],
        scales: list[int],
        seed: int,
        request: gr.Request,
    ) -> Iterator[tuple]:
        model, folder = page.model(name), page.folder(request)
        with told():
            path = _keep(folder, "painting.png", _composite(canvas))
            image, notes = models.read_input(model, path)
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
                seed=seed,
            )
            yield made, line, [str(path), *(path for path, _ in made)]

    def draw_one(name, canvas, scale, seed, request: gr.Request) -> Iterator[tuple]:
        yield from draw(name, canvas, [scale], seed, request)

    def draw_all(name, canvas, seed, request: gr.Request) -> Iterator[tuple]:
        scales = list(range(1, len(page.model(name).sizes)))
        yield from draw(name, canvas, scales, seed, request)

    shown = [gallery, command, files]
    one = gr.on(
        [button.click, scale.release], draw_one, [chosen, canvas, scale, seed], shown
    )
    every = strip.click(draw_all, [chosen, canvas, seed], shown)
    stop.click(None, cancels=[one, every])
    blank.click(lambda name: _blank(page.model(name)), chosen, canvas)
    over.click(lambda name: _levels(page.model(name).photograph), chosen, canvas)
    sample.click(_picture_of, picked, canvas)

    def fit(model: Model) -> list[Any]:
        brush = gr.Brush(colors=_palette(model), default_size=12)
        canvas = gr.ImageEditor(value=_blank(model), brush=brush)
        return [canvas, _injection(model), _can(model, models.REDRAW)]

    return Tab([canvas, scale, button], fit)


def _edit(page: Page, chosen: gr.Dropdown, picked: gr.State) -> Tab:
    with gr.Row():
        with gr.Column():
            way = gr.Radio(list(_WAYS), value="edit", label="What to do")
            editor = _editor("Picture: paste or brush what is to change", "edited")
            mask = _editor(
                "Mask, where nothing else is brushed here: what changed", "mask"
            )
        with gr.Column():
            scale = gr.Slider(
                1, 8, 4, step=1, label="Injection scale: the lower, the more changes"
            )
            radius = gr.Slider(0, 100, 20, step=1, label="Mask wider by, pixels")
            sigma = gr.Slider(0, 30, 5.0, step=0.5, label="Mask's softness, pixels")
            seed = _seed()
            with gr.Row():
                button = gr.Button("Blend in", variant="primary", elem_id="blend")
                stop = gr.Button("Cancel")
            gallery = _pictures("Results", columns=2, elem_id="blended")
            command = _command()
            files = _files()

    def draw(
        name: Optional[str],
        way: str,
        editor: Optional[dict],
        mask: Optional[dict],
        scale: int,
        radius: int,
        sigma: float,
        seed: int,
        request: gr.Request,
    ) -> tuple:
        model, folder = page.model(name), page.folder(request)
        with told():
            picture = _composite(editor)
            before = _levels(model.photograph)
            path = _keep(folder, "input.png", picture)
            hidden = _keep(folder, "mask.png", _mask(mask, picture, before))
            masking = blending.Masking(radius, float(sigma), fill=way == "inpaint")
            image, softened, _ = models.read_masked(model, path, hidden, masking)
            redrawn = model.redraw(image, scale, seed)
            blended = model.blend(image, softened, scale, seed)
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
            return made, line, [str(path), str(hidden), *(each for each, _ in made)]

    event = button.click(
        draw,
        [chosen, way, editor, mask, scale, radius, sigma, seed],
        [gallery, command, files],
    )
    stop.click(None, cancels=[event])
    sample.click(_picture_of, picked, editor)
    way.change(lambda way: list(_WAYS[way]), way, [radius, sigma])

    def fit(model: Model) -> list[Any]:
        photograph = _levels(model.photograph)
        brush = gr.Brush(colors=_palette(model), default_size=12)
        white = gr.Brush(colors=["#ffffff"], default_size=24)
        return [
            gr.ImageEditor(value=photograph, brush=brush),
            gr.ImageEditor(value=photograph, brush=white),
            _injection(model),
            _can(model, models.REDRAW),
        ]

    return Tab([editor, mask, scale, button], fit)


def _enlarge(page: Page, chosen: gr.Dropdown, picked: gr.State) -> Tab:
    with gr.Row():
        with gr.Column(scale=1, min_width=240):
            upload = gr.Image(
                label="Picture; empty for the photograph", type="numpy", format="png"
            )
            sample = gr.Button("The sample chosen last")
            factor = gr.Slider(1, 16, 4, step=0.5, label="Factor")
            strength = gr.Slider(0, 1, 0.8, step=0.05, label="Strength")
            seed = _seed()
            button = gr.Button("Enlarge", variant="primary", elem_id="enlarge")
            stop = gr.Button("Cancel")
        with gr.Column(scale=3):
            compared = gr.ImageSlider(
                label="Bicubic, and enlarged", interactive=False, elem_id="enlarged"
            )
            command = _command()
            files = _files()

    def draw(
        name: Optional[str],
        upload: Optional[np.ndarray],
        factor: float,
        strength: float,
        seed: int,
        request: gr.Request,
    ) -> tuple:
        model, folder = page.model(name), page.folder(request)
        with told():
            image, path = model.photograph, None
            if upload is not None:
                path = _keep(folder, "input.png", upload)
                image = images.read(path, model.photograph.shape[3])
            size = [round(side * factor) for side in image.shape[1:3]]
            _check_area(*size)
            result = model.enlarge(image, float(factor), float(strength), seed)
            bicubic = models.bicubic(image, result.shape[1:3])
            made = [
                write(folder, "bicubic.png", bicubic),
                write(folder, "super_resolved.png", result),
            ]
            line = model.line(
                "super_resolve",
                input=path and path.name,
                factor=float(factor),
                strength=float(strength),
                seed=seed,
            )
            return tuple(made), line, made

    event = button.click(
        draw, [chosen, upload, factor, strength, seed], [compared, command, files]
    )
    stop.click(None, cancels=[event])
    sample.click(_picture_of, picked, upload)
    return Tab([button], lambda model: [_can(model, models.ENLARGE)])


def _animate(page: Page, chosen: gr.Dropdown, picked: gr.State) -> Tab:
    with gr.Row():
        with gr.Column(scale=1, min_width=240):
            start = gr.Slider(
                0, 8, 1, step=1, label="Start scale: the higher, the less moves"
            )
            alpha = gr.Slider(0, 1, 0.1, step=0.05, label="Pull to the photograph")
            beta = gr.Slider(0, 1, 0.9, step=0.05, label="Smoothness")
            frames = gr.Slider(2, _MOST_FRAMES, 30, step=1, label="Frames")
            seed = _seed()
            button = gr.Button("Animate", variant="primary", elem_id="animate")
            stop = gr.Button("Cancel")
        with gr.Column(scale=3):
            shown = gr.Image(label="Animation", interactive=False, elem_id="animation")
            command = _command()
            files = _files()

    def draw(
        name: Optional[str],
        start: int,
        alpha: float,
        beta: float,
        frames: int,
        seed: int,
        request: gr.Request,
        progress: gr.Progress = _PROGRESS,
    ) -> tuple:
        model, folder = page.model(name), page.folder(request)
        with told():
            walk = animation.Walk(start, float(alpha), float(beta), frames, False, seed)
            made = []
            for frame in model.animate(walk):
                made.append(images.to_uint8(frame[0]))
                progress((len(made), frames), unit="frames")
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
            return paths[0], line, paths

    event = button.click(
        draw, [chosen, start, alpha, beta, frames, seed], [shown, command, files]
    )
    stop.click(None, cancels=[event])

    def fit(model: Model) -> list[Any]:
        last = len(model.sizes) - 1
        start = gr.Slider(maximum=last, value=min(1, last))
        return [start, _can(model, models.ANIMATE)]

    return Tab([start, button], fit)


TABS = {
    "Sample": _sample,
    "Paint": _paint,
    "Edit": _edit,
    "Enlarge": _enlarge,
    "Animate": _animate,
}


def _editor(label: str, name: str) -> gr.ImageEditor:
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


def _levels(image: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3], as the page's parts take pictures."""
    return images.to_uint8(np.repeat(image[0], 3 // image.shape[3], axis=2))


def _blank(model: Model) -> np.ndarray:
    """A canvas of the photograph's most frequent colour, uint8 [H, W, 3]."""
    canvas = np.empty_like(_levels(model.photograph))
    canvas[:] = tuple(int(_palette(model)[0][i : i + 2], 16) for i in (1, 3, 5))
    return canvas


def _palette(model: Model) -> list[str]:
    """The photograph's main colours as #rrggbb, the most frequent first."""
    pixels = _levels(model.photograph)
    palette = painting.find_palette(pixels, _SWATCHES)
    nearest, _ = vq.vq(pixels.reshape(-1, 3), palette)
    ordered = palette[np.argsort(-np.bincount(nearest), kind="stable")]
    return [f"#{bytes(each).hex()}" for each in ordered.astype(np.uint8)]


def _composite(value: Optional[dict]) -> np.ndarray:
    """What a person sees in an editor, uint8 [H, W, 3]."""
    if not value or value.get("composite") is None:
        raise ValueError("There is no picture yet: load one, or start with a canvas.")
    return value["composite"][..., :3]


def _mask(value: Optional[dict], picture: np.ndarray, before: np.ndarray) -> np.ndarray:
    """What was brushed as a mask, or else what differs, uint8 [H, W] of 0 and 255."""
    for layer in (value or {}).get("layers", []):
        if layer[..., 3].any():
            return np.where(layer[..., 3] > 0, 255, 0).astype(np.uint8)
    if picture.shape != before.shape:
        raise ValueError("The picture is another than the photograph: brush the mask.")
    changed = (picture != before).any(axis=2)
    if not changed.any():
        raise ValueError("Nothing was changed: brush the picture, or the mask.")
    return np.where(changed, 255, 0).astype(np.uint8)


def _keep(folder: pathlib.Path, name: str, levels: np.ndarray) -> pathlib.Path:
    """Writes what came from the page; uint8 [H, W] or [H, W, 3]."""
    path = folder / name
    images.write(path, levels.reshape(*levels.shape[:2], -1) / np.float32(127.5) - 1)
    return path
