"""What learning needs beside networks: replay, exploration, normalisation, augmentation."""
