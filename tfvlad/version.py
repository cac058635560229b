"""The version of tfvlad, in a module of its own so that every package can read it without a cycle."""

__version__ = "0.1.0"
