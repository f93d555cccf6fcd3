"""A run: its folder, its tracking, its Ray session."""
