"""Readers of models: what a network is made of, what it costs, which channels hang together. They never
mutate.
"""
