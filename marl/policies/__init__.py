"""Who acts without learning."""
