"""Any prompts with any responses: read from files, scored by the reward actors, given the run's utilities."""
