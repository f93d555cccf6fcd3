"""Does the choice of objective matter on these samples? Coordinates of a run's own data, and what follows from them."""
