"""Waterworld: agents hunt food and avoid poison, both seen by rays."""
