"""The operator of `--form native`: one C++ file that ships as source, is built here, and is loaded only if it was.

slide_attention.cpp   the operator, for ONNX Runtime's C API and as an OpenVINO extension
library.py            build it with this machine's compiler, remember what was built, refuse anybody else's
schema.py             what onnx knows of the operator: its output's shape
"""

DOMAIN, OPERATOR = "slide_export", "SlideAttention"
LIBRARY, SOURCE = "slide_attention.so", "slide_attention.cpp"
"""What a bundle calls them."""
