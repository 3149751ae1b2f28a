"""Parts of learning besides networks: replay, exploration, normalisation, augmentation."""
