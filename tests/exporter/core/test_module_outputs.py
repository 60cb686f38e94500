"""The value that leaves a module is its output, whatever the artifact calls it."""

from slide_export.core.graph import Value
from slide_export.core.module_outputs import modules_by_value, outputs_of, outputs_of_calls

MODULES = ("embed", "block", "block.attn", "block.attn.proj", "block.mlp", "head")
CHAIN = (
    Value("e", "embed", ("x",)),
    Value("n", "block.attn.keys.0", ("e",)),  # a module that only the lowering has
    Value("p", "block.attn.proj", ("n",)),
    Value("cast", "block.attn.proj.p_half", ("p",)),  # what a tool added
    Value("a", "block", ("e", "cast")),
    Value("m", "block.mlp", ("a",)),
    Value("b", "block", ("a", "m")),
    Value("mean", "", ("b",)),
    Value("h", None, ("mean",)),  # a layer without a scope belongs to its user
    Value("logits", "head", ("h",)),
)


def test_each_module_has_the_value_that_leaves_it() -> None:
    assert outputs_of(CHAIN, MODULES) == {
        "embed": "e",
        "block": "b",
        "block.attn": "cast",
        "block.attn.proj": "cast",
        "block.mlp": "m",
        "head": "logits",
    }


def test_a_module_that_the_artifact_does_not_show_is_left_out() -> None:
    assert "gone" not in outputs_of(CHAIN, ("gone", "head"))


def test_the_last_layer_without_a_scope_belongs_to_what_it_is_computed_from() -> None:
    values = (Value("product", "head", ("x",)), Value("sum", None, ("product",)))
    assert outputs_of(values, ("head",)) == {"head": "sum"}


def test_names_that_begin_alike_are_apart() -> None:
    values = (Value("a", "layers.1", ("x",)), Value("b", "layers.10", ("a",)))
    assert outputs_of(values, ("layers.1", "layers.10")) == {"layers.1": "a", "layers.10": "b"}


def test_an_artifact_that_says_whose_outputs_its_values_are_is_believed() -> None:
    """A sum in the middle of `a` would pass for the output of `a`, which the artifact does not show."""
    values = (
        Value("middle", None, (), ()),
        Value("normed", None, (), ("a.norm",)),
        Value("last", None, (), ("b", "b.fc")),
    )
    assert outputs_of(values, ("a", "a.norm", "b", "b.fc")) == {"a.norm": "normed", "b": "last", "b.fc": "last"}


LEVELS = (
    Value("a1", "head.conv", ("x",)),
    Value("b1", "head", ("a1",)),
    Value("a2", "head.conv", ("y",)),
    Value("b2", "head", ("a2",)),
    Value("both", "", ("b1", "b2")),
)
"""A convolution and what is behind it, on two levels."""


def test_a_module_that_is_called_twice_has_two_values() -> None:
    found = outputs_of_calls(LEVELS, {"head": 2, "head.conv": 2})
    assert found == {"head": ("b1", "b2"), "head.conv": ("a1", "a2")}


def test_a_module_that_is_called_once_has_the_last_value_that_leaves_it() -> None:
    assert outputs_of_calls(LEVELS, {"head": 1}) == {"head": ("b2",)}


def test_a_module_with_another_number_of_values_than_calls_is_left_out() -> None:
    assert outputs_of_calls(LEVELS, {"head": 3, "head.conv": 2, "gone": 2}) == {"head.conv": ("a1", "a2")}
    told = tuple(Value(name, None, (), modules) for name, modules in (("p", ("head",)), ("q", ("head", "neck"))))
    assert outputs_of_calls(told, {"head": 2, "neck": 2}) == {"head": ("p", "q")}


def test_a_value_has_the_modules_of_its_scope_that_it_leaves() -> None:
    values = (
        Value("p", "block.proj", ("x",)),
        Value("b", "block", ("p",)),
        Value("logits", "head", ("b",)),
    )
    assert modules_by_value(values) == {"p": ("block.proj",), "b": ("block",), "logits": ("head",)}
    assert modules_by_value(values, without={"block"}) == {"p": ("block.proj",), "logits": ("head",)}
    (alone,) = modules_by_value(values[:1]).items()
    assert alone == ("p", ("block", "block.proj"))
