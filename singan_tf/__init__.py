"""SinGAN in TensorFlow: a generative model from one photograph (ICCV 2019)."""

__version__ = "0.1.0"
