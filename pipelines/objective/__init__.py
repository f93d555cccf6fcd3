"""The utility that a run maximises, and what it refuses."""
