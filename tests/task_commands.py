"""Command lines of every task on the finished run, for the tests of tasks."""

import json

# The smoke run's finest scale; 3 scales.
HEIGHT, WIDTH = 32, 48
TASKS = ["sample", "super_resolve", "paint", "harmonize", "edit", "inpaint"]
TASKS += ["outpaint", "animate", "transfer", "tile"]
REDRAWING = ["paint", "transfer", "harmonize", "edit", "inpaint"]
MASKED = ["harmonize", "edit", "inpaint"]


def command(name, run_dir, inputs, output_dir):
    """A command line that works, quick enough for a test."""
    arguments = [name, f"--run_dir={run_dir}", f"--output_dir={output_dir}"]
    if name in REDRAWING:
        arguments.append(f"--input={inputs / 'fits.png'}")
    if name in MASKED:
        arguments += [f"--mask={inputs / 'mask.png'}", "--mask_sigma=1"]
        arguments.append("--mask_radius=2")
    arguments += {
        "sample": ["--num_samples=2"],
        "super_resolve": ["--factor=1.5"],
        "outpaint": ["--num_samples=2", "--left=9", "--bottom=5"],
        "tile": ["--num_samples=2", "--scale_h=0.5"],
        "animate": ["--frames=4", "--start_scale=0"],
        "evaluate": ["--num_samples=1"],
    }.get(name, [])
    return arguments


def call(folder):
    return json.loads((folder / "call.json").read_text())
