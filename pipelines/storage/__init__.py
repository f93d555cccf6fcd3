"""A copy of a run on an object store, or on any other filesystem of fsspec, so that it outlives the machine."""
