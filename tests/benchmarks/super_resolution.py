"""Super-resolution by 4 against the truth and bicubic: prints a Markdown table.

    python tests/benchmarks/super_resolution.py PHOTO ... [--max_size=250]

Each photograph is cropped to whole multiples of 4 and shrunk by 4; a run is trained
on the small one by the program's own commands (`small.flags` with
`super_resolution.flags`), which then enlarge it as by default and as in the paper.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from singan_tf import images  # noqa: E402
from singan_tf.measure import quality  # noqa: E402
from singan_tf.model.resize import resize  # noqa: E402

FACTOR = 4
PRESETS = ("small", "super_resolution")
PAPER = ("--strength=1", "--noback_projection")


def shrink(path: pathlib.Path, folder: pathlib.Path) -> None:
    """Leaves large.png, the photograph, and small.png, a fourth of it."""
    photograph = images.read(path)
    height, width = (side // FACTOR * FACTOR for side in photograph.shape[1:3])
    large = photograph[:, :height, :width]
    small = resize(tf.constant(large), height // FACTOR, width // FACTOR).numpy()
    images.write(folder / "large.png", large)
    images.write(folder / "small.png", np.clip(small, -1, 1))


def command(*arguments: str) -> None:
    """Runs a command of the program, quietly."""
    call = [sys.executable, str(ROOT / "main.py"), *arguments]
    subprocess.run(call, check=True, capture_output=True)


def measure(path: pathlib.Path, extra: list[str], folder: pathlib.Path) -> str:
    """Trains on the small photograph and enlarges it; returns a table row."""
    shrink(path, folder)
    run = f"--run_dir={folder / 'run'}"
    presets = [f"--flagfile={ROOT / 'configs' / name}.flags" for name in PRESETS]
    start = time.perf_counter()
    command("train", f"--image={folder / 'small.png'}", run, *presets, *extra)
    minutes = (time.perf_counter() - start) / 60
    found = {}
    for name, how in (("ours", ()), ("paper", PAPER)):
        output = folder / name
        truth = f"--reference={folder / 'large.png'}"
        command("super_resolve", run, truth, f"--output_dir={output}", *how)
        results = json.loads((output / "call.json").read_text())["results"]
        found[name] = results["super_resolved"]
        found["bicubic"] = results["bicubic"]
    found["truth"] = {"blur": blur_of(folder / "large.png")}
    cells = [path.stem, f"{minutes:.1f}"]
    for name in ("bicubic", "ours", "paper"):
        cells.append(f"{found[name]['psnr']:.2f}")
    for name in ("truth", "bicubic", "ours", "paper"):
        cells.append(f"{found[name]['blur']:.3f}")
    return f"| {' | '.join(cells)} |"


def blur_of(path: pathlib.Path) -> float:
    """The blur of a picture, as `super_resolve` reports it."""
    return quality.quality(images.read(path), None)["blur"]


def main() -> None:
    """Prints a row for each photograph as it comes."""
    extra = [text for text in sys.argv[1:] if text.startswith("--")]
    photographs = [text for text in sys.argv[1:] if not text.startswith("--")]
    print(
        "| photograph | training, minutes | PSNR, dB: bicubic | default | paper "
        "| blur: truth | bicubic | default | paper |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for text in photographs:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(images.resolve(text), extra, pathlib.Path(folder))
            print(row, flush=True)


if __name__ == "__main__":
    main()
