"""A served model as the studio's page takes it; see `singan_tf.studio.models.Model`."""

import dataclasses
from collections.abc import Iterator
from typing import Any, Optional

import grpc
import numpy as np

from export.client import SinGANClient
from singan_tf import images
from singan_tf.cli import launch
from singan_tf.config import Config
from singan_tf.errors import UserError
from singan_tf.model import pyramid
from singan_tf.studio import models
from singan_tf.tasks import animation
from singan_tf.tasks.super_resolution import STRENGTH

# By signature, what the page can do with it.
_ABILITIES = {
    "sample": models.SAMPLE,
    "edit": models.REDRAW,
    "super_resolve": models.ENLARGE,
}


class ServedModel:
    """What answers at a gRPC endpoint, TensorFlow Serving's or `serve`'s own.

    Images and masks go there in 8 bits a channel, as the client's commands send them.
    """

    def __init__(self, client: SinGANClient, target: str, name: str):
        """Asks for the signatures, and for the photograph as the model reproduces it.

        Args:
            client: Of the endpoint and the model.
            target: The endpoint, for command lines.
            name: The model's name.

        Raises:
            UserError: if there is no such model, or no server.
        """
        self.name, self._client, self._target = name, client, target
        found = self._ask(client.metadata)
        self.abilities = frozenset(
            _ABILITIES[each] for each in found if each in _ABILITIES
        )
        self.photograph = _values(self._ask(client.reconstruct))
        # A server does not tell what was learned, nor the sizes: those of the usual
        # settings.
        self.inside: Optional[np.ndarray] = None
        _, height, width, _ = self.photograph.shape
        self.sizes = _usual_sizes((height, width))

    def warm_up(self) -> None:
        """See `Model.warm_up`; a server has done it."""

    def sample(
        self, seed: int, start_scale: int, size: tuple[int, int], noise_scale: float
    ) -> np.ndarray:
        """See `Model.sample`."""
        made = self._ask(self._client.sample, seed, start_scale, *size, noise_scale)
        return _values(made)

    def redraw(self, image: np.ndarray, injection_scale: int, seed: int) -> np.ndarray:
        """See `Model.redraw`."""
        levels = images.to_uint8(image)
        return _values(
            self._ask(self._client.edit, levels, injection_scale, None, seed)
        )

    def blend(
        self, image: np.ndarray, softened: np.ndarray, injection_scale: int, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Model.blend`; the server blends."""
        mask = images.to_uint8(2 * softened[np.newaxis, ..., np.newaxis] - 1)
        levels = images.to_uint8(image)
        blended = self._ask(self._client.edit, levels, injection_scale, mask, seed)
        return self.redraw(image, injection_scale, seed), _values(blended)

    def enlarge(
        self, image: np.ndarray, factor: float, strength: float, seed: int
    ) -> np.ndarray:
        """See `Model.enlarge`; a server takes no other strength than 0.8.

        Raises:
            UserError: if another is asked for.
        """
        if strength != STRENGTH:
            raise UserError(f"A served model enlarges with a strength of {STRENGTH}.")
        levels = images.to_uint8(image)
        return _values(self._ask(self._client.super_resolve, levels, factor, seed))

    def animate(self, walk: animation.Walk) -> Iterator[np.ndarray]:
        """See `Model.animate`; no signature does it.

        Raises:
            UserError: always.
        """
        raise UserError("A served model does not animate; open its run in the studio.")

    def line(self, command: str, **flags: Any) -> str:
        """See `Model.line`; the client's command for the same request."""
        seed, scale = flags.pop("seed"), flags.pop("injection_scale", None)
        seeds = range(seed, seed + flags.pop("num_samples", 1))
        for name in ("mask_radius", "mask_sigma", "palette", "strength"):
            flags.pop(name, None)
        # The client takes both as they are, so what it needs is what was made of them.
        if "mask" in flags:
            flags["mask"] = models.SOFTENED
        if scale is not None:
            command, flags["input"] = "edit", models.GIVEN
        program = ["python", "-m", "export.client", command]
        program += [f"--target={self._target}", f"--model={self.name}"]
        listed = ",".join(map(str, seeds))
        lines = []
        for each in range(1, len(self.sizes)) if scale == "all" else [scale]:
            folder = None
            if scale == "all":
                # The command refuses a folder that another one has filled.
                folder = f"outputs/{self.name}/served_edit_scale_{each:02d}"
            lines.append(
                launch.line(
                    program,
                    **flags,
                    injection_scale=each,
                    seeds=listed,
                    output_dir=folder,
                )
            )
        return "\n".join(lines)

    def _ask(self, method: Any, *arguments: Any) -> Any:
        try:
            return method(*arguments)
        except grpc.RpcError as error:
            raise UserError(
                f"The server at {self._target} gave no answer: {error.details()}"
            ) from None


def _usual_sizes(size: tuple[int, int]) -> list[tuple[int, int]]:
    """The sizes of the scales, coarse to fine, of a photograph that is the finest."""
    usual = Config().pyramid
    settings = dataclasses.replace(
        usual, max_size=max(size), min_size=min(usual.min_size, *size)
    )
    return pyramid.plan_scales(*size, settings).sizes


def _values(levels: np.ndarray) -> np.ndarray:
    """uint8 [1, H, W, C] as float32 in [-1, 1]."""
    return levels.astype(np.float32) / np.float32(127.5) - np.float32(1)
