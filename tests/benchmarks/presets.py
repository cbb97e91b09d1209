"""Presets by time, memory and what `evaluate` measures: prints a Markdown table.

    python tests/benchmarks/presets.py --weights=STEM.npz PHOTO ... -- [--flag ...]

Each photograph is trained on by `main.py train` with the flags after `--`, and ten of
its samples, saved as JPEG of quality 90, are measured by `main.py evaluate` with the
weights (`--inception_weights`). `--keep=FOLDER` keeps runs and samples.
"""

import argparse
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image
from step_time import convolution_rate

ROOT = pathlib.Path(__file__).resolve().parents[2]
SAMPLES = 10
COLUMNS = (
    "training, s",
    "a sample, s",
    "SIFID",
    "diversity",
    "copied",
    "copied anywhere",
    "spectrum rms, dB",
    "worst band, dB",
)


def command(*arguments: str) -> float:
    """Runs a command of the program; its seconds."""
    call = [sys.executable, str(ROOT / "main.py"), *arguments]
    start = time.perf_counter()
    subprocess.run(call, check=True, capture_output=True, cwd=ROOT)
    return time.perf_counter() - start


def measure(photograph: pathlib.Path, flags: list[str], weights: str, folder) -> list:
    """Seconds of training and of a sample, then what `COLUMNS` says."""
    run, drawn, saved = (folder / name for name in ("run", "drawn", "samples"))
    trained = command("train", f"--image={photograph}", f"--run_dir={run}", *flags)
    few, many = (
        command(
            "sample",
            f"--run_dir={run}",
            f"--num_samples={count}",
            f"--output_dir={drawn}",
            "--overwrite",
        )
        for count in (1, SAMPLES)
    )
    saved.mkdir()
    for path in sorted(drawn.glob("seed_*.png")):
        with Image.open(path) as image:
            image.convert("RGB").save(saved / f"{path.stem}.jpg", quality=90)
    command(
        "evaluate",
        f"--samples={saved}",
        f"--image={photograph}",
        f"--inception_weights={weights}",
        f"--output_dir={folder / 'measured'}",
    )
    found = json.loads((folder / "measured" / "metrics.json").read_text())
    return [
        trained,
        (many - few) / (SAMPLES - 1),
        found["sifid"]["mean"],
        found["diversity"],
        # None where a photograph was shrunk: its places are others.
        found["copied"]["mean"] if found["copied"] else float("nan"),
        found["copied_anywhere"]["mean"],
        found["mean_spectrum"]["rms"],
        found["mean_spectrum"]["worst"],
    ]


def main() -> None:
    """Measures every photograph and prints a row for each, and their mean."""
    own, flags = sys.argv[1:], []
    if "--" in own:
        own, flags = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photographs", nargs="+", type=pathlib.Path)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--keep", type=pathlib.Path)
    values = parser.parse_args(own)
    if values.keep and values.keep.exists():
        parser.error(f"--keep: {values.keep} exists; give another folder")
    print(f"`{' '.join(flags)}`\n")
    print(f"| photograph | {' | '.join(COLUMNS)} |")
    print("|---" * (1 + len(COLUMNS)) + "|")
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        parent = values.keep or pathlib.Path(temporary)
        for index, photograph in enumerate(values.photographs):
            folder = parent / f"{index}_{photograph.stem}"
            folder.mkdir(parents=True)
            name = f"{photograph.parent.name}/{photograph.name}"
            rows.append(measure(photograph.resolve(), flags, values.weights, folder))
            print(f"| {name} |", " | ".join(f"{x:.3g}" for x in rows[-1]), "|")
    # A shrunk photograph's samples have no `copied`.
    mean = np.nanmean(rows, axis=0)
    print("| mean |", " | ".join(f"{x:.3g}" for x in mean), "|")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"\nMost memory of a process: {peak:.0f} MiB.")
    print(f"The machine's rate: {convolution_rate() / 1e9:.0f} GFLOP/s.")


if __name__ == "__main__":
    main()
