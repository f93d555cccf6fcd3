"""`allgood sweep`: Ray Tune over whole alignment runs that share their frozen models."""
