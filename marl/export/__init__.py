"""marl's worlds for other libraries."""
