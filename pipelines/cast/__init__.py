"""Which actors a run asks for, and how work is given to them."""
