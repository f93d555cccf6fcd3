"""An alignment: the loop, its batches, controllers, checkpoints, validation."""
