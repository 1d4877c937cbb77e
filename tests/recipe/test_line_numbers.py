from __future__ import annotations

import tomllib

import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from sslkit.recipe.line_numbers import line_numbers

TEXT = '''\
# a comment with [brackets] and = signs
top = "a # no comment"

[train]   # a table
epochs = 3
nested.key = """
many
lines = 1 ""\\""""
after = 1

["quoted.name"]
'single' = [
  1,
  { inside = [2,
     3] },
]

[[loss]]
use = "a"
[loss.sub]
x = 1
[[loss]]
use = "b"
'''


def test_keys_headers_and_array_elements_have_their_lines() -> None:
    tomllib.loads(TEXT)
    lines = line_numbers(TEXT)
    assert lines[("top",)] == 2
    assert lines[("train",)] == 4
    assert lines[("train", "epochs")] == 5
    assert lines[("train", "nested", "key")] == 6
    assert lines[("train", "after")] == 9
    assert lines[("quoted.name", "single")] == 12
    assert lines[("quoted.name", "single", 0)] == 13
    assert lines[("quoted.name", "single", 1, "inside")] == 14
    assert lines[("quoted.name", "single", 1, "inside", 1)] == 15
    assert lines[("loss", 0, "use")] == 19
    assert lines[("loss", 0, "sub", "x")] == 21
    assert lines[("loss", 1, "use")] == 23


def key_paths(value: object, prefix: tuple = ()) -> set[tuple]:
    paths = {prefix} if prefix else set()
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        paths |= key_paths(item, (*prefix, key))
    return paths


scalars = st.one_of(st.integers(-9, 9), st.booleans(), st.floats(allow_nan=False), st.text(max_size=8))
keys = st.text(min_size=1, max_size=6)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(keys, values, max_size=4), st.booleans())
def test_every_key_of_a_random_document_has_its_line(tables: dict, multiline: bool) -> None:
    text = tomli_w.dumps(tables, multiline_strings=multiline)
    parsed = tomllib.loads(text)
    lines = line_numbers(text)
    assert key_paths(parsed) <= set(lines)
    for path, line in lines.items():
        name = path[-1]
        if isinstance(name, str) and name.isidentifier() and name.isascii():
            assert name in text.split("\n")[line - 1]
