"""More steps after the end of a run, at its finest scale.

Coarser scales stay as they are: the finer ones were trained on what these make. What a
step does depends on the number of all steps by the learning rate alone, so the course
of that stays what it was (`TrainingConfig.schedule_steps`), and a run with more steps
is one that could have been asked for at the start: `with_more_steps` says which.
"""

import dataclasses
from typing import Any, Optional

from singan_tf import config as config_lib
from singan_tf import schedule
from singan_tf.config import Config
from singan_tf.errors import UsageError
from singan_tf.runs.folder import RunFolder, with_batch_setting
from singan_tf.training_settings import TrainingConfig


def with_more_steps(config: Config, finest: int, more: int) -> Config:
    """The configuration of a run with more steps at its finest scale.

    Args:
        config: Of the run, settled.
        finest: Its finest scale.
        more: The number of steps to add, at least 1.

    Returns:
        A configuration whose run has, after the steps of `config`, the same weights.

    Raises:
        UsageError: if the scale is made of patches, or the learning rate is 0 at the
            end of its course.
        ValueError: if no step is added.
    """
    if more < 1:
        raise ValueError(f"continue_steps {more} is not a number of steps to add")
    training, steps = config.training, config.steps_at(finest)
    if not steps:
        raise UsageError(
            f"continue_steps={more} has nothing to go on with: scale {finest}, the "
            "finest, is made of patches, which take no steps; train another run with "
            f"patch_scales={finest} or less."
        )
    changes: dict[str, Any] = {
        "steps": schedule.with_number("steps", training.steps, finest, steps + more)
    }
    if _keeps_course(training, finest):
        if not training.decay_factor:
            raise UsageError(
                f"continue_steps={more} would change nothing: with decay_factor=0 the "
                "learning rate is 0 at its end; train another run with more steps "
                "from the start."
            )
        course = training.at(finest).schedule_steps or steps
        changes["schedule_steps"] = schedule.with_number(
            "schedule_steps", training.schedule_steps, finest, course
        )
    training = dataclasses.replace(training, **changes)
    return dataclasses.replace(config, training=training)


def begun(run: RunFolder, config: Config, finest: int) -> Optional[Config]:
    """The configuration that a run folder has, if a run with more steps goes on there.

    Args:
        run: The folder, which need not be there.
        config: With more steps, by `with_more_steps`.
        finest: The finest scale.

    Returns:
        None if it does not; else with the batch as `config` spells it, whose number
        `RunFolder.open` compares.

    Raises:
        UserError: if the folder's config.json is damaged or of a newer version.
    """
    if not run.config.exists():
        return None
    # The number itself counts, not whether it was asked for.
    held = with_batch_setting(run.read()[0], config)
    more = config.training.at(finest).steps - held.training.at(finest).steps
    if more <= 0:
        return None
    try:
        longer = with_more_steps(held, finest, more)
    except UsageError:
        return None
    return None if config_lib.differences(longer, config) else held


def explain(config: Config, finest: int, more: int) -> str:
    """What more steps will be, in sentences.

    Args:
        config: Of the run before them.
        finest: Its finest scale.
        more: The number of steps that are added.
    """
    training, steps = config.training, config.steps_at(finest)
    text = f"Scale {finest}, the finest, gets {steps + more} steps in place of {steps}"
    if not _keeps_course(training, finest):
        return f"{text}, as if it had been asked for at the start."
    course = training.at(finest).schedule_steps or steps
    return (
        f"{text}. The learning rate keeps its course over {course} steps and then "
        f"stays at its end, {training.decay_factor:.3g} of where it began; "
        f"{steps + more} steps at the start would have stretched it over all."
    )


def _keeps_course(training: TrainingConfig, scale: int) -> bool:
    """Whether a longer course of the learning rate would have begun otherwise.

    More steps than a scale was to have keep the course that it had then.
    """
    numbers = training.at(scale)
    if training.learning_rate_schedule == "constant" or training.decay_factor == 1:
        return False
    if numbers.schedule_steps or training.learning_rate_schedule == "cosine":
        return True
    # A step schedule may decay behind its end.
    return round(numbers.steps * training.decay_at) < numbers.steps
