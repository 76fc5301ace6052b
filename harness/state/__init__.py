"""Layers that keep their state on an object: its places, what each of them is, and how the layer is called."""
