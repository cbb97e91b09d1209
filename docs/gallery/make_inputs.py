"""Makes the gallery's inputs from scikit-image's photographs: a painting and masks.

    python docs/gallery/make_inputs.py

writes them to docs/gallery/inputs.
"""

import pathlib
import sys

import numpy as np
import skimage.data
from PIL import Image, ImageDraw

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent.parent))

from singan_tf import images  # noqa: E402

INPUTS = pathlib.Path(__file__).with_name("inputs")
SIDE = 512


def paint() -> None:
    """A painting in the colours of the tissue of `ihc`, in a layout of its own."""
    white, blue, brown = (243, 242, 245), (176, 182, 208), (166, 124, 78)
    painting = Image.new("RGB", (SIDE, SIDE), blue)
    draw = ImageDraw.Draw(painting)
    draw.ellipse((60, 40, 450, 300), fill=brown)
    draw.ellipse((190, 110, 330, 220), fill=white)
    draw.polygon([(0, 512), (0, 330), (250, 400), (330, 512)], fill=brown)
    draw.ellipse((380, 350, 490, 460), fill=brown)
    painting.save(INPUTS / "painting.png")


def harmonize() -> None:
    """A flat brown horse, the silhouette `horse`, pasted into `ihc`."""
    picture = Image.fromarray(skimage.data.immunohistochemistry())
    inside = Image.fromarray(~skimage.data.horse()).resize((300, 246))
    picture.paste((150, 105, 60), (190, 150), inside)
    picture.save(INPUTS / "pasted.png")
    mask = Image.new("L", picture.size)
    mask.paste(inside, (190, 150))
    mask.save(INPUTS / "pasted_mask.png")


def edit() -> None:
    """The `rocket`, copied to both sides of itself."""
    # Its colours are Adobe RGB, which the program converts as it reads them.
    picture = images.to_uint8(images.read(images.resolve("rocket")))[0]
    mask = np.zeros(picture.shape[:2], np.uint8)
    original = picture[130:400, 290:345].copy()
    for left in (195, 390):
        picture[130:400, left : left + 55] = original
        mask[130:400, left : left + 55] = 255
    Image.fromarray(picture).save(INPUTS / "edited.png")
    Image.fromarray(mask).save(INPUTS / "edited_mask.png")


def inpaint() -> None:
    """Two holes."""
    mask = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(mask)
    draw.ellipse((90, 120, 210, 220), fill=255)
    draw.rectangle((300, 290, 420, 380), fill=255)
    mask.save(INPUTS / "holes.png")


def keep() -> None:
    """The place of the `rocket` in its photograph."""
    mask = Image.new("L", (640, 427))
    ImageDraw.Draw(mask).rectangle((285, 90, 375, 427), fill=255)
    mask.save(INPUTS / "kept.png")


if __name__ == "__main__":
    INPUTS.mkdir(exist_ok=True)
    for make in (paint, harmonize, edit, inpaint, keep):
        make()
