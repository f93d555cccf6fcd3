"""Trained policies at both points of the open world, predicted before any is trained: `make open-world`."""
