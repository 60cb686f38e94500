"""`make counts`: writes models/counts.json, what every variant is made of."""

import json
from pathlib import Path

from slide_export.checkpoint.variants import count_all

FILE = Path(__file__).parents[2] / "models/counts.json"


def main() -> None:
    """Writes the file, beside it first and then renamed."""
    partial = FILE.with_suffix(".partial")
    partial.write_text(json.dumps(count_all(), indent=1, allow_nan=False) + "\n")
    partial.replace(FILE)


if __name__ == "__main__":
    main()
