"""The settings of a run, made from JSON and flags."""
