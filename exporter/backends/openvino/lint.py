"""What fails or runs badly under OpenVINO alone."""

from slide_export.core.lint import LintFact

FACTS = (
    LintFact(
        "own-operator",
        "hint",
        "it is loaded with the library beside it: core.add_extension",
        "openvino/core/extension.hpp, OPENVINO_CREATE_EXTENSIONS",
    ),
)
