"""The comparison of objectives at matched KL, over seeds: `make study`."""
