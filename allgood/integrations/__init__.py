"""The rewards inside trainers that people already use, a module per trainer, each imported only when used.

None needs Ray or a checkout of the repository, only `allgood[scorers]` and, of the trainer, what stands at the head of
its module. All promise the same: prompts and responses are read as a run reads them, a failed row is dropped by the
means that the trainer has and never becomes a number, and what would break the method there is refused before the
first step.
"""
