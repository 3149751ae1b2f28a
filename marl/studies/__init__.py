"""Saying something about many runs."""
