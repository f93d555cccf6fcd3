"""The figure of the README: where the choice of objective matters, and where it hardly does."""
