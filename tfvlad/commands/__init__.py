"""The command line: one file per command, which reads flags, calls the library and prints.

A command is a module with the text `OPERANDS` (what it takes beside its flags), the function ``define``, which defines
its flags, and the function ``run``, which does the work and returns the exit status. ``_main`` finds the module by the
command's name, and turns every mistake into one line.

Flags, file names and operands enter; text, JSON and an exit status leave. This package may import every other one of
`tfvlad`, and `tfvlad_flags`; nothing imports it. A command imports TensorFlow only once its flags have been checked.
"""
