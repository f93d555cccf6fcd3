"""Scorers that read text: what loads and encodes models, and ensembles of them."""
