"""PettingZoo parallel environments as worlds of marl."""
