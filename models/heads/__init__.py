"""Heads of segmenters and detectors: one a file. A new head is its file and one line in `HEADS`."""

from .head import Head, Maps, Size
from .retinanet import RETINANET
from .semantic_fpn import SEMANTIC_FPN
from .upernet import UPERNET

HEADS: tuple[Head, ...] = (
    SEMANTIC_FPN,  # a segmenter's, behind a neck
    UPERNET,  # a segmenter's, without one
    RETINANET,  # a detector's, of one stage
)

__all__ = ["HEADS", "RETINANET", "SEMANTIC_FPN", "UPERNET", "Head", "Maps", "Size"]
