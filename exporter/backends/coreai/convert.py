"""Runs in a process of its own, which Core AI's converter may end, and imports nothing of slide-export.

    python convert.py JOB ANSWER        both JSON

    {"program": a .pt2, "inputs": names, "outputs": names, "asset": where it is written}    torch.export -> .aimodel

Its answer is the names of the functions that the program has: `main`, and those that it calls.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any


def convert(job: dict[str, Any]) -> dict[str, Any]:
    """Convert a saved program; the asset says no path of the sources that it was traced in."""
    import torch
    from coreai_torch import TorchConverter, get_decomp_table

    converter = TorchConverter(mode=TorchConverter.Mode.RELEASE)
    decomposed = torch.export.load(job["program"]).run_decompositions(get_decomp_table())
    converter.add_exported_program(decomposed, input_names=job["inputs"], output_names=job["outputs"])
    program = converter.to_coreai()
    program.save_asset(Path(job["asset"]))
    functions = program._module._mlir_module.body.operations  # no public name (coreai-core 1.0.0b3)
    return {"functions": [str(one.attributes["sym_name"]).strip('"') for one in functions]}


def main(job: Path, answer: Path) -> None:
    """Do a job and write its answer."""
    warnings.simplefilter("ignore")  # coreai-torch takes torch 2.13.0+cpu for newer than 2.13.0
    answer.write_text(json.dumps(convert(json.loads(job.read_text())), allow_nan=False))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
