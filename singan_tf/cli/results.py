"""Where a command on a finished run reads and writes, and what it leaves behind."""

import pathlib
from collections.abc import Iterator
from typing import Any, Callable, Optional

import numpy as np
from absl import flags

from singan_tf import errors, files
from singan_tf.cli import command_line
from singan_tf.cli import flags as shared
from singan_tf.cli.commands import Call
from singan_tf.errors import UsageError, UserError


def open_task(call: Call, command: str) -> Any:
    """Opens the run of a command, its folders checked before anything slow.

    Args:
        call: With the flags of `flags.define_task`.
        command: The command's name, for the folder of the results.

    Returns:
        A `task.Task`.

    Raises:
        UserError: if the run is not finished or is damaged, or the folder of the
            results is no place for them.
    """
    call.require("run_dir")
    run_dir = pathlib.Path(call.values.run_dir)
    output_dir = find_output_dir(call.values, command, run_dir)
    from singan_tf.runs.folder import RunFolder
    from singan_tf.tasks import task as task_lib

    return task_lib.open_task(RunFolder(run_dir), output_dir)


def check_start_scale(values: flags.FlagValues, task: Any) -> None:
    """Refuses a --start_scale that the run does not have."""
    if values.start_scale == shared.ALL_SCALES:
        return
    if values.start_scale > task.last:
        raise UsageError(
            f"--start_scale={values.start_scale} must be from 0 to {task.last}, the "
            f"scales of the run in {task.run.path}."
        )


def find_output_dir(
    values: flags.FlagValues, command: str, source: pathlib.Path
) -> pathlib.Path:
    """Checks where results go; not into `source`, which they are made from."""
    try:
        source = source.resolve()
    except RuntimeError:
        # What Python 3.12 and earlier say of a link to itself.
        raise UserError(f"{source} is a link to itself; name a folder.") from None
    name = source.name
    output_dir = pathlib.Path(values.output_dir or f"outputs/{name}/{command}")
    if source in (output_dir.resolve(), *output_dir.resolve().parents):
        where = "run" if values.run_dir else "folder of --samples"
        raise UserError(
            f"--output_dir={output_dir} is in the {where}, which stays as it is; name "
            "another folder."
        )
    if output_dir.exists() and not output_dir.is_dir():
        raise UserError(f"--output_dir={output_dir} is a file; name a folder.")
    if output_dir.is_dir() and any(output_dir.iterdir()) and not values.overwrite:
        raise UserError(
            f"--output_dir={output_dir} is not empty; name another folder, or pass "
            "--overwrite to replace files in it."
        )
    return output_dir


def make_output_dir(output_dir: pathlib.Path) -> None:
    """Makes the folder of the results, without the record of earlier ones.

    Raises:
        UserError: if it cannot be made there.
        OSError: if that is a fault of the program.
    """
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        # It speaks of the results that are about to be replaced.
        (output_dir / "call.json").unlink(missing_ok=True)
        # Or a power cut could bring it back beside new results.
        files.sync(output_dir)
    except OSError as error:
        about_path = isinstance(error, (FileExistsError, FileNotFoundError))
        if errors.way_out(error) is None and not about_path:
            raise
        raise UserError(
            f"--output_dir={output_dir} cannot be made ({error.strerror}); name "
            "another folder."
        ) from None


def draw_each(
    values: flags.FlagValues, task: Any, unit: str, draw: Callable[[int], np.ndarray]
) -> Iterator[tuple[int, np.ndarray]]:
    """Draws an image for each seed and writes it, with a progress bar.

    Args:
        values: With --num_samples and --seed.
        task: Where to, a `task.Task`.
        unit: What the bar counts.
        draw: Makes an image, float32 [1, H, W, C] in [-1, 1], of a seed.

    Yields:
        The seed and its image.
    """
    import tqdm

    for index in tqdm.trange(values.num_samples, unit=unit, disable=None):
        seed = values.seed + index
        image = draw(seed)
        task.write(f"{seed_name(seed)}.png", image)
        yield seed, image


def seed_name(seed: int) -> str:
    """What the image of a seed is called."""
    return f"seed_{seed:06d}"


def finish_task(
    call: Call,
    task: Any,
    command: str,
    cells: dict[str, Any],
    results: Optional[dict[str, Any]] = None,
    **sheet: int,
) -> None:
    """Leaves the contact sheet and call.json of a command on a run, and says where.

    Args:
        call: The command's.
        task: Its run and folders, a `task.Task`.
        command: The command's name.
        cells: The pictures of the contact sheet, by their captions.
        results: What was measured, as JSON values.
        **sheet: As for `task.write_results`.
    """
    facts = {"run": task.source(), "notes": task.notes, "results": results or {}}
    write_results(call, task.output_dir, command, cells, facts, **sheet)


def write_results(
    call: Call,
    output_dir: pathlib.Path,
    command: str,
    cells: dict[str, Any],
    facts: dict[str, Any],
    **sheet: int,
) -> None:
    """Leaves a contact sheet and call.json in any folder, and says where.

    Args:
        call: The command's; call.json has its flags.
        output_dir: The folder.
        command: The command's name.
        cells: The pictures of the contact sheet, by their captions.
        facts: What else call.json has, as JSON values.
        **sheet: As for `task.write_results`.
    """
    from singan_tf.tasks import task as task_lib

    arguments = {name: call.values[name].value for name in call.values}
    arguments["output_dir"] = str(output_dir)
    record = {"command": command, "arguments": arguments, **facts}
    path = task_lib.write_results(output_dir, cells, record, **sheet)
    command_line.say(f"Wrote {output_dir}; see {path}")
