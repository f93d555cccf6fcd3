"""A map of where the transform matters: exact optima of idealised worlds, over the coordinates that decide about it."""
