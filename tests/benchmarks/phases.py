"""Where the seconds of a training command go: prints a Markdown table.

    python tests/benchmarks/phases.py [--runs=3] -- --image=PHOTO --preset=quick
    python tests/benchmarks/phases.py [--runs=3] --command=demo

The command runs under Python's profiler, which adds some percent; each phase is what
one function of the program took in all, without the phases that it called. The rate of
the machine, as `step_time.py` measures it, stands below: two machines differ by as much
as two programs.
"""

import argparse
import pathlib
import pstats
import statistics
import subprocess
import sys
import tempfile
import time

from step_time import convolution_rate

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Phase, module, function. A phase inside another is not counted in that one.
PHASES = (
    ("imports", "cli/quiet.py", "exec_module"),
    ("how far layouts move", "training/layouts.py", "set_layout_shift"),
    ("how patches vote", "training/layouts.py", "set_trust"),
    ("samples to train on", "training/previous_images.py", "draw_pool"),
    ("networks", "training/players.py", "make_players"),
    ("steps, and their tracing", "training/loop.py", "_repeat"),
    ("measuring weights", "training/contest.py", "offer"),
    ("choosing what stays", "training/contest.py", "settle"),
    ("pictures of scales", "training/pictures.py", "write_pictures"),
    ("contact sheet", "training/pictures.py", "write_samples"),
    ("checkpoints", "runs/checkpoints.py", "save"),
    ("report", "reports/report.py", "write"),
)
INSIDE = {
    "steps, and their tracing": ("measuring weights",),
    "choosing what stays": ("how patches vote",),
}


def measure(command: str, arguments: list[str]) -> dict[str, float]:
    """Seconds by phase; what is in none is called the rest."""
    with tempfile.TemporaryDirectory() as folder:
        profile = pathlib.Path(folder) / "profile"
        call = [sys.executable, "-m", "cProfile", "-o", str(profile)]
        call += [str(ROOT / "main.py"), command, *arguments]
        call += [f"--run_dir={folder}/run"]
        start = time.perf_counter()
        subprocess.run(call, check=True, capture_output=True, cwd=ROOT)
        whole = time.perf_counter() - start
        stats = pstats.Stats(str(profile)).stats
    seconds = {}
    for name, module, function in PHASES:
        seconds[name] = sum(
            values[3]
            for (path, _, called), values in stats.items()
            if path.endswith(f"singan_tf/{module}") and called == function
        )
    for name, parts in INSIDE.items():
        seconds[name] = max(0.0, seconds[name] - sum(seconds[part] for part in parts))
    seconds["the rest"] = whole - sum(seconds.values())
    seconds["all"] = whole
    return seconds


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--command", choices=("train", "demo"), default="train")
    parser.add_argument("arguments", nargs="*")
    options = parser.parse_args()
    runs = [measure(options.command, options.arguments) for _ in range(options.runs)]
    print("| phase | seconds, median | least to most |")
    print("|---|---|---|")
    for name in runs[0]:
        times = sorted(run[name] for run in runs)
        if times[-1] >= 0.05:
            middle = statistics.median(times)
            print(f"| {name} | {middle:.1f} | {times[0]:.1f} to {times[-1]:.1f} |")
    rate = convolution_rate()
    print(f"\nThe machine's rate: {rate / 1e9:.0f} GFLOP/s.")


if __name__ == "__main__":
    main()
