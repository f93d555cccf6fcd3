"""What a run leaves for others: its reward side as a folder."""
