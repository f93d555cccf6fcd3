"""Looking before running: what every model will read, what rewards look like, and how much memory each role needs."""
