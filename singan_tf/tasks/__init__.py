"""What a trained pyramid is used for: arrays in, arrays out."""
