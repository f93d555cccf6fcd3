"""Scorers that read text: what a scorer is, how one is described, loaded and checked, and how models read text.

The extra `allgood[scorers]` brings what models need; functions as scorers need nothing.
"""
