"""The code that several algorithms share."""
