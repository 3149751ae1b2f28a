"""Our worlds for other people's learners."""
