"""The studio's page: tabs over one model, and the server that shows it."""

import socket
from typing import Any, Optional

import gradio as gr
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware

from singan_tf import images
from singan_tf.studio import (
    animate_tab,
    edit_tab,
    enlarge_tab,
    paint_tab,
    parts,
    sample_tab,
    train_tab,
)
from singan_tf.studio.parts import Tab
from singan_tf.studio.session import Page

# Nothing is fetched from, or sent to, another host, whatever a library would like to.
_POLICY = (
    "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "frame-ancestors 'self'"
)
# Seconds between two looks for files that nobody needs, and how long they are kept.
_TIDY = (300, 3600)
_TABS = {
    "Sample": sample_tab,
    "Paint": paint_tab,
    "Edit": edit_tab,
    "Enlarge": enlarge_tab,
    "Animate": animate_tab,
}
_STYLE = """
.gradio-container { width: 100% !important; max-width: 1400px !important; }
footer { display: none !important; }
.command textarea { font-family: monospace; }
.or, .min_value, .max_value { color: var(--body-text-color) !important; }
"""


def build(page: Page) -> gr.Blocks:
    """The page.

    Args:
        page: What its tabs share.
    """
    names = page.source.names()
    with gr.Blocks(
        title="SinGAN studio", analytics_enabled=False, delete_cache=_TIDY
    ) as blocks:
        gr.Markdown("# SinGAN studio\nNew images from one photograph.")
        chosen = gr.Dropdown(
            names, value=names[0] if names else None, label="Model", elem_id="model"
        )
        picked = gr.State()
        made: list[Tab] = []
        with gr.Tabs(selected="sample" if names else "train"):
            if page.source.trainings:
                with gr.Tab("Train", id="train"):
                    train_tab.build(page, chosen, blocks)
            for name, tab in _TABS.items():
                with gr.Tab(name, id=name.lower()):
                    made.append(tab.build(page, chosen, picked))
        everything = [part for tab in made for part in tab.outputs]

        def show(name: Optional[str]) -> list[Any]:
            if not name:
                return [gr.skip() for _ in everything]
            model = page.model(name)
            return [update for tab in made for update in tab.fit(model)]

        shown = gr.on(
            [blocks.load, chosen.change],
            show,
            chosen,
            everything,
            show_progress="hidden",
        )
        # Graphs are traced while the person looks around, not at the first click.
        shown.then(
            lambda name: page.model(name).warm_up() if name else None,
            chosen,
            show_progress="hidden",
            **parts.IN_TURN,
        )
        blocks.load(
            lambda: gr.Dropdown(choices=page.source.names()),
            outputs=chosen,
            show_progress="hidden",
        )
        blocks.unload(page.forget)
    return blocks


class _OnlyThisHost:
    """Adds the policy to every answer (an ASGI middleware)."""

    def __init__(self, app: Any):
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_with_policy(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["Content-Security-Policy"] = _POLICY
            await send(message)

        await self._app(scope, receive, send_with_policy)


def serve(page: Page, host: str, port: int, open_browser: bool) -> Any:
    """Starts the server, in threads of its own.

    Args:
        page: What its tabs share.
        host: The address to listen at.
        port: The port; 0 for a free one.
        open_browser: Whether a browser opens.

    Returns:
        Gradio's blocks, which `close` ends; their address is `local_url`.

    Raises:
        OSError: if the address is taken.
    """
    blocks = build(page)
    blocks.queue(default_concurrency_limit=1, api_open=False).launch(
        server_name=host,
        server_port=port or _free_port(host),
        inbrowser=open_browser,
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        ssr_mode=False,
        run_history=False,
        show_error=True,
        footer_links=[],
        allowed_paths=[str(page.root)],
        max_file_size=images.MAX_PIXELS,
        theme=_theme(),
        css=_STYLE,
        app_kwargs={"middleware": [Middleware(_OnlyThisHost)]},
    )
    return blocks


def _free_port(host: str) -> int:
    with socket.socket() as found:
        found.bind((host, 0))
        return found.getsockname()[1]


def _theme() -> gr.themes.Base:
    """Fonts that are there, and buttons dark enough for white letters."""
    theme = gr.themes.Base(font=("system-ui", "sans-serif"), font_mono=("monospace",))
    return theme.set(
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_hover_dark="*primary_800",
    )
