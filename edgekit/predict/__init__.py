"""Latency without the board at hand: kernels measured once on it, and a network's time as their sum."""
