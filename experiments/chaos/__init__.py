"""Random kills of a run's processes, and the page of all faults that were injected. Real processes are killed."""
