"""`allgood plan`: what of a run goes where, how fast it will be, and whether it fits into memory."""
