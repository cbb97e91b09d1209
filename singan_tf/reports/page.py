"""What pages are made of: one HTML file each, that opens offline.

Pictures are data URIs, plots are inline SVG, and the one style sheet suits a phone, a
printer and a dark room. Everything that is not markup goes through `text`.
"""

import base64
import html
import io
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, Callable, Optional

import numpy as np

from singan_tf import images

# Apart on white and on black, also for most colour-blind eyes (after Okabe and Ito).
COLOURS = ("#1f83c9", "#dd7a1c", "#159c77", "#c25a9b", "#8a7bd8", "#9a8b10")

# Plots take the colour of the text around them: matplotlib draws in this one, which
# then gives way to the page's.
_INK = "#010203"

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6570; --line: #d7dce1;
  --paper: #ffffff; --wash: #f4f6f8; --accent: #0b66b0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7eaee; --soft: #a1abb6;
  --line: #3a424b; --paper: #14171a; --wash: #1d2226; --accent: #6db8f5; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem 1rem 4rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-bottom: .3rem;
  border-bottom: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p { max-width: 46rem; margin: .5rem 0; }
.soft, figcaption { color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .8rem .35rem 0; text-align: right; vertical-align: top;
  border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; }
th:first-child, td:first-child, .words td, .words th { text-align: left; }
table:not(.words) td:first-child { min-width: 6rem; }
table:not(.words) td + td { white-space: nowrap; }
.words td { overflow-wrap: anywhere; min-width: 6rem; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: .8rem; line-height: 1.35; padding-top: .3rem;
  overflow-wrap: anywhere; }
img { display: block; max-width: 100%; height: auto; border-radius: 3px; }
.pixels img { width: 100%; image-rendering: pixelated; }
.strip { display: grid; gap: .75rem; margin: .5rem 0 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(10rem, 29%), 1fr)); }
.large { grid-template-columns: repeat(auto-fill, minmax(min(18rem, 100%), 1fr)); }
.plots { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); }
.plots svg { display: block; width: 100%; height: auto; max-width: 30rem; }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0;
  margin: .5rem 0; list-style: none; font-size: .9rem; }
.legend i { display: inline-block; width: 1.4em; height: .25em; margin-right: .4em;
  vertical-align: middle; border-radius: 2px; }
details { margin: .75rem 0; }
summary { cursor: pointer; color: var(--accent); }
"""


def text(value: Any) -> str:
    """Any value as text for HTML."""
    return html.escape(str(value))


def number(value: Optional[float], digits: int = 3) -> str:
    """A number with so many significant digits; a dash for None and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, int):
        return str(value)
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:.0f}"
    return f"{value:.{digits}g}"


def duration(seconds: float) -> str:
    """Seconds as a person says them."""
    if seconds < 60:
        return f"{number(float(seconds))} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def document(title: str, body: Iterable[str]) -> str:
    """A whole page.

    Args:
        title: Its heading.
        body: Parts of HTML.
    """
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{text(title)}</title>",
            f"<style>{_STYLE}</style>",
            "</head>",
            "<body>",
            f"<h1>{text(title)}</h1>",
            *body,
            "</body>",
            "</html>\n",
        ]
    )


def table(
    header: Sequence[str], rows: Iterable[Sequence[Any]], words: bool = False
) -> str:
    """A table, which scrolls sideways where it does not fit.

    Args:
        header: Of the columns.
        rows: Cells as plain text.
        words: Aligns all columns to the left; else only the first.
    """

    def line(tag, cells):
        scope = ' scope="col"' if tag == "th" else ""
        return (
            "<tr>"
            + "".join(f"<{tag}{scope}>{text(cell)}</{tag}>" for cell in cells)
            + "</tr>"
        )

    kind = ' class="words"' if words else ""
    lines = "\n".join(line("td", row) for row in rows)
    return (
        f'<div class="scroll" tabindex="0"><table{kind}>\n<thead>{line("th", header)}'
        f"</thead>\n<tbody>\n{lines}\n</tbody></table></div>"
    )


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown: the first column to the left, the others to the right.

    Args:
        header: Of the columns.
        rows: Cells as text without a vertical bar.
    """
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, rule, *rows))


def picture(image: np.ndarray, alt: str, caption: str = "", max_side: int = 512) -> str:
    """A picture in the page itself.

    Args:
        image: As `images.write` takes it.
        alt: What it shows, for those who do not see it.
        caption: Below it.
        max_side: A larger image is shrunk to it.
    """
    data, (width, height) = images.encode(image, max_side)
    uri = "data:image/webp;base64," + base64.b64encode(data).decode()
    caption = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return (
        f'<figure><img src="{uri}" width="{width}" height="{height}" '
        f'alt="{text(alt)}">{caption}</figure>'
    )


def strip(pictures: Iterable[str], large: bool = False) -> str:
    """Pictures side by side, enlarged to one width, their pixels left square."""
    kind = "strip pixels large" if large else "strip pixels"
    return f'<div class="{kind}">{"".join(pictures)}</div>'


def legend(names: Sequence[str]) -> str:
    """Names beside their `COLOURS`."""
    entries = (
        f'<li><i style="background: {COLOURS[index]}"></i>{text(name)}</li>'
        for index, name in enumerate(names)
    )
    return f'<ul class="legend">{"".join(entries)}</ul>'


def plot(draw: Callable[[Any], None], label: str) -> str:
    """An inline SVG by matplotlib, in the page's own text colour.

    Args:
        draw: Draws on the axes that it is given.
        label: What the plot shows, for those who do not see it.
    """
    import matplotlib
    from matplotlib.figure import Figure

    settings = {
        "svg.fonttype": "none",
        # Equal pages from equal runs; and no two plots of a page share a name.
        "svg.hashsalt": label,
        "font.family": "sans-serif",
        "font.size": 8,
        "axes.titlesize": 8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.2,
        "grid.color": _INK,
        "text.color": _INK,
        "axes.edgecolor": _INK,
        "axes.labelcolor": _INK,
        "axes.titlecolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "lines.linewidth": 1.2,
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(4.2, 2.5), layout="constrained")
        draw(figure.add_subplot())
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :].replace(_INK, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Names of groups, which nothing refers to, would repeat from plot to plot.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"font: 8px '[^']*'[^;\"]*", "font: 8px sans-serif", svg)
    return svg.replace("<svg", f'<svg role="img" aria-label="{text(label)}"', 1)


def heat_map(values: np.ndarray) -> np.ndarray:
    """Numbers from 0 to 1 as colours, black to yellow-white.

    Args:
        values: [H, W]; above 1 is shown as 1.

    Returns:
        uint8 [H, W, 3].
    """
    import matplotlib

    colours = matplotlib.colormaps["inferno"](np.clip(values, 0, 1), bytes=True)
    return np.ascontiguousarray(colours[:, :, :3])
