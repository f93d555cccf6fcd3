"""A first run file from names alone, with settings that fit the models."""
