"""Layers of our own in the style of courses, books and libraries, right and wrong."""
