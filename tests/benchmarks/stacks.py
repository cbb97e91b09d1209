"""Two stacks side by side: what crosses over, and how fast this one is.

    python tests/benchmarks/stacks.py crossing OTHER_PYTHON
    python tests/benchmarks/stacks.py pace OTHER_PYTHON [PAIRS]

OTHER_PYTHON is the Python of another virtual environment. `crossing` trains, exports
and half-trains a small run on each stack, and has the other sample, verify and go on
with it. `pace` times a step of the paper's recipe at 69x92 and a whole `quick` run, in
pairs that change their order, and prints the ratios of this Python's times to the
other's.
"""

import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEP_TIME = ROOT / "tests" / "benchmarks" / "step_time.py"
SIZED = ("--num_samples=3", "--height=40", "--width=70")
# The index of 69x92 among the cases of step_time.
CASE = 1


def main_py(python: str, *arguments: object) -> str:
    """What a command prints; ends the benchmark if it fails."""
    done = subprocess.run(
        [python, "main.py", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{python} main.py {arguments}: {done.stderr}")
    return done.stdout


def version(python: str) -> str:
    """The line of --version, without the program's own."""
    return main_py(python, "--version").strip().partition("(")[2].rstrip(")")


def same_pictures(one: pathlib.Path, other: pathlib.Path) -> int:
    """The number of pictures, which must be equal byte for byte in both folders."""
    names = sorted(path.name for path in one.glob("seed_*.png"))
    assert names and names == sorted(path.name for path in other.glob("seed_*.png"))
    for name in names:
        if (one / name).read_bytes() != (other / name).read_bytes():
            sys.exit(f"{one / name} and {other / name} differ.")
    return len(names)


def crossing(pythons: tuple[str, str], folder: pathlib.Path) -> None:
    """Prints a line for each thing that crosses over."""
    for index, (trainer, reader) in enumerate((pythons, pythons[::-1])):
        run = folder / f"run{index}"
        settings = ["--image=coffee", "--preset=smoke"]
        main_py(trainer, "train", *settings, f"--run_dir={run}")
        made = []
        for name, python in (("own", trainer), ("other", reader)):
            made.append(folder / f"{name}{index}")
            sizes = [*SIZED, f"--output_dir={made[-1]}"]
            main_py(python, "sample", f"--run_dir={run}", *sizes)
        print(f"run of {version(trainer)}")
        print(f"  {same_pictures(*made)} samples by the other stack: equal")

        main_py(trainer, "export", f"--run_dir={run}")
        said = main_py(reader, "verify", f"--run_dir={run}").splitlines()
        print(f"  its export, verified by the other stack: {said[-1]}")

        # As after a kill between two scales.
        shutil.rmtree(run / "scales" / "02")
        (run / "samples.png").unlink()
        before = (run / "scales" / "01" / "state.json").read_bytes()
        main_py(reader, "train", *settings, f"--run_dir={run}")
        assert (run / "scales" / "01" / "state.json").read_bytes() == before
        print("  gone on with by the other stack: finished")


def step_milliseconds(python: str) -> float:
    """The median of the steps of one process."""
    row = json.loads(subprocess.check_output([python, STEP_TIME, str(CASE)]))
    return statistics.median(row["milliseconds"])


def quick_seconds(python: str) -> float:
    """A whole run, from the start of its process to its end."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        main_py(
            python,
            "train",
            "--image=coffee",
            "--preset=quick",
            f"--run_dir={folder}/run",
        )
        return time.perf_counter() - start


def pace(pythons: tuple[str, str], pairs: int) -> None:
    """Prints the ratio of each pair, and their median."""
    print(f"{version(pythons[0])} to {version(pythons[1])}")
    for name, seconds_of, count in (
        ("step at 69x92", step_milliseconds, pairs),
        ("quick, whole", quick_seconds, pairs),
    ):
        ratios = []
        for index in range(count):
            order = pythons if index % 2 else pythons[::-1]
            taken = {python: seconds_of(python) for python in order}
            ratios.append(taken[pythons[0]] / taken[pythons[1]])
            print(
                f"  {name}: {[round(taken[each], 1) for each in pythons]}", flush=True
            )
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        print(f"{name}: ratio {statistics.median(ratios):.3f} ({spread})", flush=True)


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ("crossing", "pace"):
        sys.exit(__doc__)
    both = (sys.executable, sys.argv[2])
    if sys.argv[1] == "pace":
        pace(both, int(sys.argv[3]) if len(sys.argv) > 3 else 5)
    else:
        with tempfile.TemporaryDirectory() as place:
            crossing(both, pathlib.Path(place))
