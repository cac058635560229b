"""The flags of the commands, one file per concern; `tfvlad_flags` when installed.

Each ``define`` function declares flags on the `absl.flags.FlagValues` that it is given, with their bounds and choices;
rules over several flags are absl validators. Functions such as ``encoder_config`` and ``grid`` turn parsed flags into
one frozen config of the library, which never reads a flag itself.

Command lines enter; checked values and configs leave. This package may import absl and `tfvlad`'s configs and names of
choices; only `tfvlad.commands` imports it.
"""
