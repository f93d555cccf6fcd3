"""What a run is judged by and what it refuses: gold, and guards against what destroys the method."""
