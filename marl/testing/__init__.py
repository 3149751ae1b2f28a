"""Checks for worlds and agents of your own."""
