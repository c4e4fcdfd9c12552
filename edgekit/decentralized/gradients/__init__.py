"""Ways to take the gradients of many models at once; the one that fits is chosen by a probe."""
