"""Tennis for two: one ball and two rackets, seen from the side."""
