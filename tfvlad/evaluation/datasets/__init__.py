"""Ground truth: which images of a database are right answers to which queries.

Files enter: those of public benchmarks as they are published (`load_dataset`; one module per benchmark), or folders of
one's own (`plain_folder`). A `Dataset` leaves. Nothing is downloaded. This package may import
`tfvlad.evaluation.metrics`, `tfvlad.images` and what lies below them.
"""

from tfvlad.evaluation.datasets.dataset import DatabaseImage, Dataset, Judgement, Query, Size, Truth
from tfvlad.evaluation.datasets.plain_folder import plain_folder
from tfvlad.evaluation.datasets.published import PUBLISHED, as_indexed, check_plain, load_dataset, split_name
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
