"""SinGAN in the browser: train, sample, paint, edit, enlarge, animate."""
