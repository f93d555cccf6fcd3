"""Idealised worlds, whose optima are calculated: spreads, bars, errors of reward models, and what each objective gives.

Nothing is sampled: laws are masses on lattices, so that KLs are reached that no number of samples would show.
"""
