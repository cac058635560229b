"""The type of a box in an image."""

Box = tuple[float, float, float, float]  # (x1, y1, x2, y2) in pixels of the upright image; x2 and y2 not included
