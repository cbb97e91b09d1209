"""How a pyramid is trained, one scale after the other."""
