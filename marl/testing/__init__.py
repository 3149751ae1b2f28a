"""What authors of worlds and agents run."""
