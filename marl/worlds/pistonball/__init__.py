"""Pistonball: a row of pistons carries a ball to the left wall, seen from the side."""
