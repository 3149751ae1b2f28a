"""What every compiled world shares."""
