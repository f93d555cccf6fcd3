"""Reference points: samples of the SFT policy, the table made of them, its keys."""
