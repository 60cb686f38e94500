"""The passes of a conversion: all of coremltools' but those that change values, for compression too."""

import pytest

from slide_export.mil import vendor
from slide_export.mil.passes import WRONG, in_compression, pipeline


def test_a_pass_that_changes_values_is_left_out() -> None:
    vendor.prepare()
    import coremltools as ct

    whole = ct.PassPipeline().passes
    assert set(whole) >= WRONG
    assert list(pipeline().passes) == [name for name in whole if name not in WRONG]


def test_a_compression_has_the_same_passes_and_leaves_coremltools_as_it_was() -> None:
    vendor.prepare()
    from coremltools.models import utils

    whole = utils._mil_convert
    with in_compression():
        assert utils._mil_convert.func is whole
        assert not WRONG & set(utils._mil_convert.keywords["pass_pipeline"].passes)
    assert utils._mil_convert is whole
    with pytest.raises(KeyError), in_compression():
        raise KeyError("a compression that fails")
    assert utils._mil_convert is whole
