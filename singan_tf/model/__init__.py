"""What SinGAN is: the pyramid, its stages and how they make an image."""
