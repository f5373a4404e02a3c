"""What finished runs learned: questions that need a network or the corpus again."""
