"""What makes docs/results: studies that no command runs and nothing imports."""
