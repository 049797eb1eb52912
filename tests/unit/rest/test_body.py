import enum
from dataclasses import dataclass
from typing import Annotated

import pydantic
import pytest
from falcon import testing

from appliance.common import errors
from appliance.rest import body


class Media(enum.StrEnum):
    HDD = "hdd"
    SSD = "ssd"


class Inner(body.Body):
    x: int


class Pool(body.Body):
    name: str = pydantic.Field(min_length=1)
    size_bytes: int = pydantic.Field(ge=0, default=0)
    media: Media = Media.SSD
    ratio: float = 1.0
    thin: bool = True
    hosts: tuple[str, ...] = ()
    inner: Inner | None = None

    @pydantic.field_validator("name")
    @classmethod
    def _no_dots(cls, value: str) -> str:
        if "." in value:
            raise ValueError("a name has no dots")
        return value


class Page(body.Query):
    limit: int = pydantic.Field(default=5, ge=1, le=1000)
    after: int | None = None
    force: bool = False
    media: Media | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    name: str
    count: int = 1


def request(data=b"", query="", content_type="application/json"):
    headers = {"Content-Type": content_type} if content_type else {}
    return testing.create_req(method="POST", body=data, query_string=query, headers=headers)


def test_a_body_becomes_its_model():
    given = request(
        b'{"name":"p","size_bytes":7,"media":"hdd","ratio":2,"hosts":["a"],"inner":{"x":1}}'
    )
    read = body.read(given, Pool)
    assert read == Pool(
        name="p", size_bytes=7, media=Media.HDD, ratio=2.0, hosts=("a",), inner=Inner(x=1)
    )


def test_no_body_is_an_empty_object():
    class Nothing(body.Body):
        pass

    assert body.read(request(b"", content_type=None), Nothing) == Nothing()
    with pytest.raises(errors.Invalid, match="name: a value is needed"):
        body.read(request(b""), Pool)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"name":"p","size":1}', r"^size: unknown field; known are name, size_bytes, media"),
        (b'{"name":"p","size_bytes":"7"}', r"^size_bytes: .*valid integer"),
        (b'{"name":"p","size_bytes":7.5}', r"^size_bytes: .*valid integer"),
        (b'{"name":"p","size_bytes":true}', r"^size_bytes: .*valid integer"),
        (b'{"name":"p","size_bytes":-1}', r"^size_bytes: .*greater than or equal to 0"),
        (b'{"name":"p","thin":1}', r"^thin: .*valid boolean"),
        (b'{"name":"p","thin":"true"}', r"^thin: .*valid boolean"),
        (b'{"name":"p","ratio":NaN}', r"^ratio: .*finite"),
        (b'{"name":"p","media":"tape"}', r"^media: .*'hdd' or 'ssd'"),
        (b'{"name":"p","inner":{"x":1,"y":2}}', r"^inner.y: unknown field$"),
        (b'{"name":"p","hosts":["a",1]}', r"^hosts.1: .*valid string"),
        (b'{"name":"a.b"}', r"^name: a name has no dots$"),
        (b'{"name":null}', r"^name: .*valid string"),
        (b"{}", r"^name: a value is needed$"),
        (b'{"name":"","thin":3}', r"^name: .*1 character; thin: .*boolean"),
        (b"[]", r"^body: .*object"),
        (b"null", r"^body: .*object"),
        (b"{", r"^body: this is not JSON: EOF"),
        (b"\xff\xfe", r"^body: this is not JSON"),
        (b"[" * 100_000, r"^body: this is not JSON: recursion"),
        (b'{"name":' + b"9" * 5000 + b"}", r"^body: this is not JSON: number out of range"),
        (b'{"name":"\\ud800"}', r"^body: this is not JSON"),
    ],
)
def test_a_body_that_does_not_fit_names_the_field(data, message):
    with pytest.raises(errors.Invalid, match=message):
        body.read(request(data), Pool)


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "x"])
@pytest.mark.parametrize("reads", [body.read, body.read_message])
def test_another_media_type_is_refused(content_type, reads):
    import falcon

    with pytest.raises(falcon.HTTPUnsupportedMediaType):
        reads(request(b'{"name":"p"}', content_type=content_type), Message)


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_may_be_written_in_other_ways(content_type):
    assert body.read(request(b'{"name":"p"}', content_type=content_type), Pool).name == "p"


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", Page()),
        ("limit=7&force=true", Page(limit=7, force=True)),
        ("after=-3&force=false", Page(after=-3)),
        ("media=hdd&name=12", Page(media=Media.HDD, name="12")),
        ("name=true", Page(name="true")),
    ],
)
def test_a_query_becomes_its_model(query, wanted):
    assert body.query(request(query=query), Page) == wanted


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("limit=1_0", r"^limit: .*valid integer"),
        ("limit=1.0", r"^limit: .*valid integer"),
        ("limit=%20 1", r"^limit: .*valid integer"),
        ("limit=007", r"^limit: .*valid integer"),
        ("limit=", r"^limit: .*valid integer"),
        ("limit=" + "9" * 5000, r"^limit: .*valid integer"),
        ("limit=0", r"^limit: .*greater than or equal to 1"),
        ("force=yes", r"^force: .*valid boolean"),
        ("force=1", r"^force: .*valid boolean"),
        ("media=tape", r"^media: "),
        ("limit=1&limit=2", r"^limit: give this parameter once"),
        ("size=1", r"^size: unknown field; known are limit, after"),
    ],
)
def test_a_query_that_does_not_fit_names_the_parameter(query, message):
    with pytest.raises(errors.Invalid, match=message):
        body.query(request(query=query), Page)


def test_a_message_becomes_its_dataclass_and_newer_fields_are_passed_over():
    read = body.read_message(request(b'{"name":"m","count":2,"newer":[]}'), Message)
    assert read == Message("m", 2)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"^body: this is not JSON"),
        (b"{", r"^body: this is not JSON"),
        (b"\xff", r"^body: this is not JSON"),
        (b'{"name":NaN}', r"^body: this is not JSON: NaN is no JSON number"),
        (b"[" * 100_000, r"^body: this is not JSON"),
        (b'{"name":1}', r"^Message.name: '1' is not of type str"),
        (b'{"count":1}', r"^Message: a field is missing"),
        (b"7", r"^Message: '7' is not of type dict"),
    ],
)
def test_a_message_that_does_not_fit_is_refused(data, message):
    with pytest.raises(errors.Invalid, match=message):
        body.read_message(request(data), Message)


class Optional(body.Query):
    before: Annotated[int, pydantic.Field(ge=1)] | None = None
    sure: Annotated[bool, pydantic.Field()] | None = None


def test_a_number_that_may_be_left_out_and_has_bounds_is_a_number_all_the_same():
    found = body.query(request(query="before=17&sure=true"), Optional)
    assert (found.before, found.sure) == (17, True)
    with pytest.raises(errors.Invalid, match="before"):
        body.query(request(query="before=0"), Optional)
