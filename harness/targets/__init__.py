"""Layers in files, modules, packages and notebooks: found, with or without a spec, and how they may be called."""
