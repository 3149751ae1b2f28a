"""What a run is, and how JSON and flags become that."""
