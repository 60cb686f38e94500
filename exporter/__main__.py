"""`python -m slide_export` is `slide-export`."""

from .cli.main import main

main()
