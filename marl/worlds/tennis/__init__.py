"""Tennis for two: one ball, two rackets, seen from the side."""
