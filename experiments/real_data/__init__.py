"""Real reward models and a real judge on the map: what their spreads, errors and correlations are, and what follows."""
