"""Ground truth: which indexed images are right answers to which queries.

Of public benchmarks, from their files as published (`load_dataset`), and of plain folders (`plain_folder`). Nothing is
downloaded.
"""

from tfvlad.datasets.dataset import Box, DatabaseImage, Dataset, Judgement, Query, Size, Truth
from tfvlad.datasets.indexed import as_indexed
from tfvlad.datasets.plain import plain_folder
from tfvlad.datasets.registry import PUBLISHED, check_plain, load_dataset, split_name

__all__ = [
    "PUBLISHED",
    "Box",
    "DatabaseImage",
    "Dataset",
    "Judgement",
    "Query",
    "Size",
    "Truth",
    "as_indexed",
    "check_plain",
    "load_dataset",
    "plain_folder",
    "split_name",
]
