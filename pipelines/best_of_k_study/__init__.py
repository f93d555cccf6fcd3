"""Best-of-k on real answers by different models: `python -m pipelines.best_of_k_study`."""
