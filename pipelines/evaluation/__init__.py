"""The numbers of an evaluation: from samples and scores to win rates, rates and intervals."""
