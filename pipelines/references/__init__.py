"""Reference points: samples of the start policy, the table made of them, its keys."""
