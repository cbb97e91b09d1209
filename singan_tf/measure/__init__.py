"""Numbers of images: how far samples are from a photograph, and how they differ."""
