"""What runs on a board or speaks to its firmware; needs no torch."""
