"""How often and how much at once the holder of a token may ask, and whoever has none."""
