"""A finished run as the model that it trained."""

from singan_tf.config import Config
from singan_tf.errors import UserError
from singan_tf.model import stages
from singan_tf.model.singan import SinGAN
from singan_tf.runs.folder import RunFolder, all_sizes, model_objects


def load(run: RunFolder) -> tuple[SinGAN, Config]:
    """Loads a finished run for use.

    Args:
        run: Its folder.

    Returns:
        The trained pyramid and the run's configuration.

    Raises:
        UserError: if there is no run, it is damaged or it is not finished.
    """
    config, photographs = run.read()[0], run.photographs()
    masked = any(each.inside_sha256 is not None for each in photographs)
    sizes, *further_sizes = all_sizes(config, photographs)
    singan = SinGAN(sizes, config.network.channels, further_sizes)
    for scale in range(len(sizes)):
        state = run.state(scale)
        if state is None or not state.finished:
            raise UserError(
                f"The run in {run.path} is not finished: {scale} of "
                f"{len(sizes)} scales are; run its train command again to go on."
            )
        here = singan.sizes_at(scale)
        stage = stages.build_stage(
            config, scale, *here, patches=state.patches, masked=masked
        )
        singan.stages.append(stage)
        if scale == 0:
            singan.set_reconstruction_noise(0)
        run.restore(scale, state, model_objects(singan, scale))
    return singan, config
