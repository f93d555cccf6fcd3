"""How responses are drawn: the engine, its decoders, seeds, where a response stops."""
