"""What a learner computes: objectives, policy gradients, values, several learners as one."""
