"""`python -m slide_export` is `slide-export`."""

from .cli import main

main()
