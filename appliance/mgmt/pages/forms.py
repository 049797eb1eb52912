"""What an HTML form sends, as checked values. Each field once, none of them long."""

from urllib import parse

import falcon

from appliance.common import errors, units

_FIELDS = 60
_LONGEST = 4096


class Form:
    """Fields by name. Every getter raises errors.Invalid, naming the field."""

    def __init__(self, values: dict[str, str]) -> None:
        self._values = values

    def text(self, name: str, longest: int = 200) -> str:
        value = self._values.get(name, "").strip()
        if len(value) > longest:
            raise errors.Invalid(what=name, why=f"at most {longest} characters")
        return value

    def need(self, name: str, longest: int = 200) -> str:
        value = self.text(name, longest)
        if not value:
            raise errors.Invalid(what=name, why="a value is needed")
        return value

    def secret(self, name: str) -> str:
        """As it was typed, blanks and all."""
        return self._values.get(name, "")

    def ticked(self, name: str) -> bool:
        return self._values.get(name) == "on"

    def number(self, name: str) -> float:
        try:
            value = float(self.need(name))
        except ValueError as exc:
            raise errors.Invalid(what=name, why="give a number") from exc
        if value != value or abs(value) > 1e18:
            raise errors.Invalid(what=name, why="give a number")
        return value

    def whole(self, name: str) -> int:
        value = self.number(name)
        if value != int(value):
            raise errors.Invalid(what=name, why="give a whole number")
        return int(value)

    def size(self, name: str) -> int:
        try:
            return units.parse_size(self.need(name))
        except ValueError as exc:
            raise errors.Invalid(what=name, why=str(exc)) from exc

    def confirm(self, name: str) -> None:
        """Raises unless the object's name was typed, as every destructive act asks for."""
        if self.text("confirm") != name:
            raise errors.Invalid(what="confirm", why=f"type the name '{name}' to go on")

    def all(self) -> dict[str, str]:
        return dict(self._values)


def read(req: falcon.Request) -> Form:
    """The request's form, read once. Raises errors.Invalid."""
    found: Form | None = getattr(req.context, "form", None)
    if found is None:
        found = req.context.form = _read(req)
    return found


def is_form(req: falcon.Request) -> bool:
    kind = (req.content_type or "").partition(";")[0].strip().lower()
    return kind == "application/x-www-form-urlencoded"


def _read(req: falcon.Request) -> Form:
    if not is_form(req):
        raise falcon.HTTPUnsupportedMediaType(description="send a form")
    raw: bytes = req.bounded_stream.read()
    try:
        pairs = parse.parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, max_num_fields=_FIELDS, errors="strict"
        )
    except ValueError as exc:
        raise errors.Invalid(what="form", why="it cannot be read") from exc
    values = dict(pairs)
    if len(values) != len(pairs):
        raise errors.Invalid(what="form", why="a field was sent twice")
    if any(len(value) > _LONGEST or "\0" in value for value in values.values()):
        raise errors.Invalid(what="form", why="a field is too long")
    return Form(values)
