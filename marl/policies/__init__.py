"""Policies that act without learning."""
