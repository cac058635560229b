"""`python -m tfvlad COMMAND`."""

from tfvlad.commands.main import main

main()
