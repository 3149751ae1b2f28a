"""A run is a folder that can be reopened."""
