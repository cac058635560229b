"""The demo's images, drawn by the program itself: covers of films and books, and photographs of them.

A seed enters; folders of JPEG files leave, the covers to be indexed and the photographs to search with. This package
may import `tfvlad.images` and `tfvlad.errors`, and nothing else of `tfvlad`.
"""

from tfvlad.demo.drawn_dataset import DrawnDataset, OddQueries, draw_dataset, draw_odd_queries

__all__ = ["DrawnDataset", "OddQueries", "draw_dataset", "draw_odd_queries"]
