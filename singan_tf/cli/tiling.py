"""The command that draws seamless tiles: tile."""

import numpy as np
from absl import flags

from singan_tf.cli import flags as shared
from singan_tf.cli import results, sizes
from singan_tf.cli.commands import Call, Command

_SHEET_TILES = 11
_SHEET_SIDE = 384


def _define_tile(values: flags.FlagValues) -> None:
    shared.define_task(values)
    shared.define_num_samples(values, "The number of tiles.", default=5)
    shared.define_seed(
        values, "The seed of the first tile; the next ones count on from it."
    )
    sizes.define_size(values, "a tile")
    shared.define_noise_scale(values)


def _tile(call: Call) -> None:
    values = call.values
    task = results.open_task(call, "tile")
    from singan_tf import images
    from singan_tf.measure import metrics
    from singan_tf.tasks import tiling

    height, width = sizes.output_size(values, task.singan.sizes)
    results.make_output_dir(task.output_dir)
    photograph, inside = task.photograph, task.inside
    cells, seams = {"photograph": photograph}, {}

    def draw(seed):
        return tiling.draw_tile(task.singan, seed, height, width, values.noise_scale)

    for seed, image in results.draw_each(values, task, "tile", draw):
        seams[results.seed_name(seed)] = metrics.seams(image, photograph, inside)
        if seed < values.seed + _SHEET_TILES:
            shown = images.thumbnail(image[0], _SHEET_SIDE)
            cells[f"seed {seed}, 3x3"] = np.tile(shown, (3, 3, 1))
    print(f"{values.num_samples} tiles of {width}x{height} pixels.")
    measured = {}
    if None not in seams.values():
        means = metrics.Seams(*np.mean(list(seams.values()), axis=0).tolist())
        print(
            "Where borders meet, neighbours differ by "
            f"{means.top_bottom:.2f} (top and bottom) and {means.left_right:.2f} (left "
            "and right) of what they differ by in the photograph."
        )
        by_tile = {name: each._asdict() for name, each in seams.items()}
        measured = {"seams": means._asdict(), "seams_by_tile": by_tile}
    results.finish_task(call, task, "tile", cells, measured, max_side=_SHEET_SIDE)


TILE = Command(
    "tile",
    "Draw seamless tiles: samples whose borders continue each other.",
    _define_tile,
    _tile,
)
