"""Choosing among several responses to a prompt: the frontier over k, and the responses chosen."""
