"""The embedded world: text with known gold, so that every method can be measured without a download."""
