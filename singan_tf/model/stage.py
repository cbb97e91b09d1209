"""A stage: anything that maps noise and a previous image to an image at its scale.

`SinGAN` walks over stages and needs of each what `Stage` has.
"""

from typing import Optional

import tensorflow as tf


class Stage(tf.Module):
    """What all stages have in common; tf.Module finds their variables.

    Attributes:
        trained: Whether it has a generator, which training made.
    """

    trained = False

    def noise(self, seeds: tf.Tensor, stream: int, height, width) -> tf.Tensor:
        """Draws noise maps for an output of height x width pixels.

        Args:
            seeds: int64 [B].
            stream: See `noise.normal`.
            height: int or scalar tensor.
            width: int or scalar tensor.

        Returns:
            float32 [B, ...]; row i depends on seeds[i] alone.
        """
        raise NotImplementedError

    def __call__(
        self, noise_map: Optional[tf.Tensor], previous: tf.Tensor
    ) -> tf.Tensor:
        """Makes an image.

        Args:
            noise_map: As `noise` gives it; None is no noise.
            previous: float32 [B, H, W, C] in [-1, 1]; zeros at scale 0.

        Returns:
            float32 [B, H, W, C], not clipped.
        """
        raise NotImplementedError

    def of_first(self, noise_map: tf.Tensor) -> tf.Tensor:
        """Noise that draws layouts of the first photograph, where it chooses one."""
        return noise_map

    def restore(
        self,
        noise_map: Optional[tf.Tensor],
        previous: tf.Tensor,
        photograph: int = 0,
    ) -> tf.Tensor:
        """Makes the photograph at this scale.

        Args:
            noise_map: z* at scale 0; None above.
            previous: The photograph as restored below, float32 [1, H, W, C] in
                [-1, 1].
            photograph: Its number, where there are several.

        Returns:
            float32 [1, H, W, C].
        """
        return self(noise_map, previous)

    def seamless(self) -> "Stage":
        """This stage for images whose borders continue each other.

        Returns:
            One that shares all variables with it.
        """
        raise NotImplementedError
