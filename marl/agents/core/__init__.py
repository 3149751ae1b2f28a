"""What algorithms stand on."""
