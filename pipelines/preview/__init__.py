"""`allgood preview`: what each setting of a grid would reach, before anything is trained."""
