"""The open world: answers made of many independent details, so that quality has no near ceiling."""
