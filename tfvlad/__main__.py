"""`python -m tfvlad COMMAND`."""

from tfvlad.commands._main import main

main()
