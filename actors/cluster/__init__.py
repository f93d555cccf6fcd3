"""Where actors run and how they are asked: admission, placement, the cast, deadlines."""
