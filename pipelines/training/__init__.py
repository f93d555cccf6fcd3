"""Supervised training under Ray Train, used by SFT and by reward models."""
