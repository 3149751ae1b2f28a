"""Any PettingZoo parallel environment as a world of ours."""
