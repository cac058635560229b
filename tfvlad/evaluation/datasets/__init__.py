"""Ground truth: which indexed images are right answers to which queries.

Of public benchmarks, from their files as published (`load_dataset`), and of plain folders (`plain_folder`). Nothing is
downloaded.
"""

from tfvlad.evaluation.datasets.dataset import DatabaseImage, Dataset, Judgement, Query, Size, Truth
from tfvlad.evaluation.datasets.indexed import as_indexed
from tfvlad.evaluation.datasets.plain import plain_folder
from tfvlad.evaluation.datasets.registry import PUBLISHED, check_plain, load_dataset, split_name
from tfvlad.images import Box

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
