"""The packages of slide_export, found in the folders that `package-dir` in pyproject.toml maps them to."""

from setuptools import find_packages, setup

FOLDERS = {"slide_export": "exporter", "slide_export.models": "models", "slide_export.calibration": "calibration"}

setup(
    packages=[
        "slide_export.digits",
        *FOLDERS,
        *(f"{name}.{inner}" for name, folder in FOLDERS.items() for inner in find_packages(folder)),
    ]
)
