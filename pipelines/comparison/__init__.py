"""Several objectives on the same models: arms side by side, and the quickstart."""
