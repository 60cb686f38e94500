"""A float16 program's text in float32: every value is the same, and nothing else changes."""

import numpy as np

from slide_export.backends.coreai.wide import widened

HALVES = np.array([1.5, -0.25, 65504.0, 6e-8], np.float16)
PROGRAM = f"""
%0 = coreai.constant dense<0xFC00> : tensor<f16>
%1 = coreai.constant dense<"0x{HALVES.tobytes().hex().upper()}"> : tensor<2x2xf16>
%2 = coreai.constant dense<[1.5, 2.0]> : tensor<2xf16>
%3 = coreai.constant dense_resource<resource_1> : tensor<2x2xf16>
%4 = coreai.constant dense_resource<resource_2> : tensor<8xui8>
%5 = coreai.constant dense<"0xFC00FC00"> : tensor<2xui16>
%6 = coreai.cast %7 : tensor<?x4xf16> to tensor<?x4xf32>
{{-#
  dialect_resources: {{
    builtin: {{
      resource_1: "0x10000000{HALVES.tobytes().hex().upper()}",
      resource_2: "0x10000000{HALVES.tobytes().hex().upper()}"
    }}
  }}
#-}}
"""


def test_every_half_is_the_same_value_in_float32_and_nothing_else_changes() -> None:
    wide, plain = HALVES.astype(np.float32).tobytes().hex().upper(), HALVES.tobytes().hex().upper()
    found = widened(PROGRAM)
    assert "f16" not in found
    assert "dense<0xFF800000> : tensor<f32>" in found
    assert f'dense<"0x{wide}"> : tensor<2x2xf32>' in found
    assert "dense<[1.5, 2.0]> : tensor<2xf32>" in found
    assert f'resource_1: "0x10000000{wide}"' in found
    assert f'resource_2: "0x10000000{plain}"' in found
    assert 'dense<"0xFC00FC00"> : tensor<2xui16>' in found
    assert "coreai.cast %7 : tensor<?x4xf32> to tensor<?x4xf32>" in found


def test_a_program_without_half_is_itself() -> None:
    text = PROGRAM.replace("f16", "f32").replace("0xFC00>", "0xFF800000>")
    assert widened(text) == text
