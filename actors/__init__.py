"""The roles of an alignment run, one file each: plain classes that Ray wraps where they are spawned."""
