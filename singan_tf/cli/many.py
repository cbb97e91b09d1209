"""The commands that train many runs, each in a process of its own: study and fleet."""

import pathlib
import shlex
from typing import NamedTuple

from absl import flags

from singan_tf import config as config_lib
from singan_tf.cli import command_line, interruption, launch
from singan_tf.cli import flags as shared
from singan_tf.cli.commands import Call, Command
from singan_tf.errors import UsageError, UserError, nearest


class Budget(NamedTuple):
    """What a study spends on a row.

    Attributes:
        presets: The names of its files of flags; of two that disagree the later counts.
        num_samples: The number of samples that are measured.
    """

    presets: list[str]
    num_samples: int


BUDGETS = {
    "smoke": Budget(["study_smoke"], 3),
    "quick": Budget(["study_quick"], 20),
    "paper": Budget(["paper"], 50),
    "reference": Budget(["paper", "study_reference"], 10),
}


def _define_study(values: flags.FlagValues) -> None:
    flags.DEFINE_string(
        "name",
        None,
        "The name of the study; docs/studies.md lists them.",
        flag_values=values,
    )
    shared.define_image(values)
    command_line.define_paths(
        "images",
        "Several photographs with commas between, in place of --image: each row is "
        "trained on each of them.",
        values,
    )
    flags.DEFINE_enum(
        "budget",
        None,
        list(BUDGETS),
        "The settings that rows differ from: smoke shows that it runs, quick takes "
        "minutes a row, paper many hours; reference is paper's recipe at 80 pixels. "
        "Flags of `train` change them further. By default quick, for the study "
        "reference the budget of that name.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "seeds",
        1,
        "The number of seeds that each row is trained with, from --seed on.",
        1,
        1000,
        flag_values=values,
    )
    flags.DEFINE_integer(
        "num_samples",
        None,
        "The number of samples that are measured of each row; by default as many as "
        "suit the budget.",
        2,
        10**6,
        flag_values=values,
    )
    shared.define_workers(values, "rows")
    shared.define_beam_flags(values, None, "Training by Apache Beam")
    command_line.define_path(
        "study_dir",
        None,
        "The folder of all studies of these photographs; outputs/studies/IMAGE-BUDGET "
        "by default.",
        values,
    )
    shared.define_settings(values)


def _study(call: Call) -> None:
    from singan_tf.fleet import processes
    from singan_tf.reports import studies, study_runs

    values = call.values
    if values.name not in studies.STUDIES:
        near = nearest(values.name, studies.STUDIES)
        raise UsageError(f"There is no study --name={values.name}: {near}")
    budget_name = values.budget or studies.STUDIES[values.name].budget
    budget = BUDGETS[budget_name]
    settings = budget_settings(values, budget)
    photographs = values.images or [values.image]
    names = "+".join(studies.photograph_name(each) for each in photographs)
    folder = pathlib.Path(values.study_dir or f"outputs/studies/{names}-{budget_name}")
    plan = studies.Plan(
        photographs,
        values.seeds,
        settings,
        values.num_samples or budget.num_samples,
        folder,
        studies.Commands(_train_row, launch.paint_sketch),
        values.workers,
        values.beam_flags,
        _repeatable(call),
    )
    with interruption.resumable(processes.Interrupted, call.again()) as should_stop:
        results = study_runs.run(values.name, plan, should_stop)
    page = folder / values.name / "index.html"
    command_line.say(f"Wrote {page} and {page.parent / values.name}.csv")
    failed = [result.row.caption for result in results if result.error]
    if failed:
        raise UserError(
            f"{len(failed)} of {len(results)} rows could not be trained "
            f"({', '.join(dict.fromkeys(failed))}); {page} says why, and the same "
            "command tries again."
        )


def _train_row(
    image: str, run_dir: pathlib.Path, config: config_lib.Config
) -> list[str]:
    return launch.train(image, run_dir, shared.settings_as_flags(config))


def _repeatable(call: Call) -> str:
    """The study as a line for other machines: every flag given, but for the folder."""
    values = call.values
    given = [
        values[name].serialize()
        for name in values
        if values[name].present and name not in ("study_dir", "preset")
    ]
    return f"{call.program} {shlex.join(['study', *given])}"


def budget_settings(values: flags.FlagValues, budget: Budget) -> dict[str, object]:
    """A budget's settings by name, but for those that the command line gives."""
    recipe = shared.read_presets(budget.presets)
    return {
        field.name: (values if values[field.name].present else recipe)[field.name].value
        for field in config_lib.settings()
    }


def _define_fleet(values: flags.FlagValues) -> None:
    for name, meaning in (
        ("images", "The photographs' paths: a quoted pattern such as 'photos/*.jpg'."),
        ("runs_dir", "The folder of the runs, which has a run for each photograph."),
    ):
        command_line.define_path(name, None, meaning, values)
    shared.define_transparent(values)
    shared.define_workers(values, "photographs")
    shared.define_beam_flags(values, "", "Another runner of Beam")
    shared.define_settings(values)


def _fleet(call: Call) -> None:
    values = call.values
    from singan_tf.fleet import fleet, processes

    settings = shared.given_settings(values)
    if values["transparent"].present:
        settings.append(values["transparent"].serialize())

    def train(photograph: pathlib.Path, run_dir: pathlib.Path) -> list[str]:
        return launch.train(photograph, run_dir, settings)

    plan = fleet.Plan(
        values.images,
        pathlib.Path(values.runs_dir),
        shared.read_config(values),
        train,
        values.workers,
        values.beam_flags,
        values.transparent,
    )
    with interruption.resumable(processes.Interrupted, call.again()) as should_stop:
        found = fleet.run(plan, should_stop)
    command_line.say(
        f"{found.trained} trained in {plan.runs_dir}, {len(found.failed)} failed."
    )
    for photograph, error in found.failed.items():
        command_line.say(f"  {photograph}: {error}")
    if found.failed:
        count = len(found.failed) + found.trained + found.finished
        raise UserError(
            f"{len(found.failed)} of {count} photographs could not be trained; the "
            "lines above say why, and the same command tries them again."
        )


def _check(call: Call, *needed: str) -> None:
    """Checks what all commands of many runs have in common; reads the presets."""
    call.require(*needed)
    if call.values.strategy == "multi_worker":
        raise UsageError(
            "--strategy=multi_worker is for one run on several machines; --beam_flags "
            "brings many runs to them."
        )
    shared.apply_presets(call.values)


def _check_study(call: Call) -> None:
    if call.values.images:
        if call.values.image:
            raise UsageError("--image and --images say the same; give one of them.")
        _check(call, "name")
    else:
        _check(call, "name", "image")


STUDY = Command(
    "study",
    "Carry out one of the seed reports' experiments, or go on with it.",
    _define_study,
    _study,
    _check_study,
)
FLEET = Command(
    "fleet",
    "Train on many photographs, a run each, by Apache Beam; or go on with them.",
    _define_fleet,
    _fleet,
    lambda call: _check(call, "images", "runs_dir"),
)
