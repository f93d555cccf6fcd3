"""How weights travel from learner to rollout actors."""
