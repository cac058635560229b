"""The export of an encoder under its documented name; see `tfvlad.serving.saved_model`."""

from tfvlad.serving.saved_model import saved_model

__all__ = ["saved_model"]
