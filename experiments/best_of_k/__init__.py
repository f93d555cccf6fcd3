"""Best-of-k on real answers by different models: `python -m experiments.best_of_k`."""
