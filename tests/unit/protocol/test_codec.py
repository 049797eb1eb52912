import dataclasses
import enum
import json
from dataclasses import dataclass, field

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from appliance.common import errors
from appliance.domain import model
from appliance.protocol import codec, messages


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Inner:
    colour: Colour
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Outer:
    name: str
    count: int = 0
    sure: bool = False
    tags: tuple[str, ...] = ()
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    by_name: dict[str, str] = field(default_factory=dict)
    grid: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Tree:
    value: int
    left: "Tree | None" = None


FULL = Outer(
    "n",
    3,
    True,
    ("a", "b"),
    Inner(Colour.BLUE, 2.5),
    (Inner(Colour.RED),),
    {"k": "v"},
    ((1, 2), ()),
)


def test_a_dataclass_becomes_plain_json():
    assert codec.to_json(FULL) == {
        "name": "n",
        "count": 3,
        "sure": True,
        "tags": ["a", "b"],
        "inner": {"colour": "blue", "weight": 2.5},
        "many": [{"colour": "red", "weight": 1.0}],
        "by_name": {"k": "v"},
        "grid": [[1, 2], []],
    }


def test_an_enum_is_not_left_to_the_json_writer():
    assert type(codec.to_json(Colour.RED)) is str
    assert codec.to_json(frozenset({Colour.RED})) == ["red"]


def test_it_survives_the_wire():
    assert codec.from_json(Outer, json.loads(json.dumps(codec.to_json(FULL)))) == FULL


def test_a_type_may_name_itself():
    tree = Tree(1, Tree(2, Tree(3)))
    assert codec.from_json(Tree, codec.to_json(tree)) == tree


def test_what_is_left_out_takes_its_default():
    assert codec.from_json(Outer, {"name": "n"}) == Outer("n")
    assert codec.from_json(Outer, {"name": "n", "inner": None}) == Outer("n")


def test_fields_of_a_newer_release_are_passed_over():
    assert codec.from_json(Outer, {"name": "n", "later": {"x": 1}}) == Outer("n")


def test_a_whole_number_is_a_float_where_one_is_wanted():
    inner = codec.from_json(Inner, {"colour": "red", "weight": 2})
    assert inner == Inner(Colour.RED, 2.0)
    assert isinstance(inner.weight, float)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, r"^Outer: a field is missing"),
        ([], r"^Outer: '\[\]' is not of type dict"),
        (None, r"^Outer: 'None' is not of type dict"),
        ({"name": 1}, r"^Outer\.name: '1' is not of type str"),
        ({"name": None}, r"^Outer\.name: 'None' is not of type str"),
        ({"name": "n", "count": "1"}, r"^Outer\.count: '1' is not of type int"),
        ({"name": "n", "count": 1.0}, r"^Outer\.count: '1\.0' is not of type int"),
        ({"name": "n", "count": 1 << 63}, r"^Outer\.count: a number beyond 64 bits"),
        ({"name": "n", "count": -(1 << 63) - 1}, r"^Outer\.count: a number beyond 64 bits"),
        ({"name": "n", "count": 10**400}, r"^Outer\.count: a number beyond 64 bits"),
        ({"name": "n", "count": True}, r"^Outer\.count: 'True' is not of type int"),
        ({"name": "n", "sure": 1}, r"^Outer\.sure: '1' is not of type bool"),
        ({"name": "n", "tags": "ab"}, r"^Outer\.tags: 'ab' is not of type list"),
        ({"name": "n", "tags": ["a", 1]}, r"^Outer\.tags\[1\]: '1' is not of type str"),
        ({"name": "n", "grid": [[1], [2, "x"]]}, r"^Outer\.grid\[1\]\[1\]: 'x' is not"),
        ({"name": "n", "inner": {}}, r"^Outer\.inner: a field is missing"),
        ({"name": "n", "inner": 7}, r"^Outer\.inner: '7' is not of type dict"),
        ({"name": "n", "inner": {"colour": "pink"}}, r"^Outer\.inner\.colour: 'pink' is not"),
        ({"name": "n", "inner": {"colour": []}}, r"^Outer\.inner\.colour: \[\] is not"),
        (
            {"name": "n", "inner": {"colour": "red", "weight": "1"}},
            r"^Outer\.inner\.weight: '1' is not of type number",
        ),
        (
            {"name": "n", "inner": {"colour": "red", "weight": True}},
            r"^Outer\.inner\.weight: 'True' is not of type number",
        ),
        ({"name": "n", "by_name": []}, r"^Outer\.by_name: '\[\]' is not of type dict"),
        ({"name": "n", "by_name": {"k": 1}}, r"^Outer\.by_name\.k: '1' is not of type str"),
        ({"name": "n", "many": [{"colour": "red"}, 1]}, r"^Outer\.many\[1\]: '1' is not"),
    ],
)
def test_what_does_not_fit_is_refused_and_named(data, message):
    with pytest.raises(errors.Invalid, match=message):
        codec.from_json(Outer, data)


def test_a_message_about_a_huge_value_stays_short():
    with pytest.raises(errors.Invalid) as caught:
        codec.from_json(Outer, {"name": ["x" * 1_000_000]})
    assert len(str(caught.value)) < 200


MESSAGES = [
    cls
    for module in (messages, model)
    for cls in vars(module).values()
    if dataclasses.is_dataclass(cls) and cls.__module__ == module.__name__
]


# What may be in a message; whole numbers of any size are put to the test after this one.
st.register_type_strategy(int, st.integers(-(1 << 63), (1 << 63) - 1))


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
@hypothesis.settings(max_examples=25)
@given(data=st.data())
def test_every_message_survives_the_wire(cls, data):
    message = data.draw(st.from_type(cls).filter(no_nan))
    assert codec.from_json(cls, json.loads(json.dumps(codec.to_json(message)))) == message


def no_nan(message):
    return "NaN" not in json.dumps(codec.to_json(message))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize("cls", MESSAGES, ids=lambda cls: cls.__name__)
@hypothesis.settings(max_examples=25)
@given(data=st.data())
def test_whatever_comes_is_read_or_refused(cls, data):
    names = [f.name for f in dataclasses.fields(cls)]
    given_ = data.draw(JSON | st.dictionaries(st.sampled_from(names), JSON))
    try:
        read = codec.from_json(cls, given_)
    except errors.Invalid as refusal:
        assert str(refusal).startswith(cls.__name__)  # noqa: PT017
    else:
        assert isinstance(read, cls)
