"""`tfvlad demo`: the whole way on images that it draws itself, ending in a results page."""

from __future__ import annotations

import dataclasses
import os
import sys

from absl import flags

import tfvlad
from tfvlad.commands.evaluate import as_table
from tfvlad.commands.failures import DONE
from tfvlad.datasets import DatabaseImage, plain_folder
from tfvlad.drawings.dataset import draw_dataset
from tfvlad.errors import WeightsError
from tfvlad.folders import image_paths
from tfvlad.metrics import evaluate
from tfvlad.reports.results import ResultHit, ResultRow, write_results
from tfvlad_flags import demo as demo_flags
from tfvlad_flags import fitting, output

OPERANDS = ""
