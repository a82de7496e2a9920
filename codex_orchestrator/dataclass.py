"""Dataclasses that cost next to nothing to define.

The standard library's decorator writes Python for each class and compiles it, in every process anew: half a
millisecond each, most of it for classes of which the process makes no object. Here all classes share the same
methods. What remains is the standard library's: fields, `dataclasses.replace`, `dataclasses.asdict`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, FrozenInstanceError
from functools import cache
from typing import TYPE_CHECKING, Any, NoReturn

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: type | None = None, /, *, frozen: bool = False, kw_only: bool = False) -> Any:
        """As `dataclasses.dataclass`, with the options that we use."""
        if cls is None:
            return lambda cls: dataclass(cls, frozen=frozen, kw_only=kw_only)
        dataclasses.dataclass(cls, init=False, repr=False, eq=False, kw_only=kw_only)
        cls.__init__, cls.__repr__, cls.__eq__, cls.__hash__ = _init, _repr, _eq, None
        if frozen:
            cls.__hash__, cls.__setattr__, cls.__delattr__ = _hash, _refuse, _refuse
        return cls


class _Shape:
    """What `_init` has to know of a class.

    Attributes:
        values: The fields in their order, each with its default or `MISSING`.
        makers: What makes the defaults of some.
        required: The fields without a default.
        positional: The fields that may be given by their places.
    """

    def __init__(self, cls: type[Any]) -> None:
        known = dataclasses.fields(cls)
        self.values = {each.name: each.default for each in known}
        self.makers = {
            each.name: each.default_factory for each in known if each.default_factory is not MISSING
        }
        self.required = {name for name, value in self.values.items() if value is MISSING} - self.makers.keys()
        self.positional = [each.name for each in known if not each.kw_only]


@cache
def _shape_of(cls: Any) -> _Shape:
    return _Shape(cls)


def _init(self: Any, *positional: Any, **values: Any) -> None:
    shape, name = _shape_of(self.__class__), type(self).__qualname__
    if positional:
        given = dict(zip(shape.positional, positional, strict=False))
        if len(given) < len(positional):
            raise TypeError(f"{name}: {len(positional)} values for {len(given)} fields")
        if twice := given.keys() & values.keys():
            raise TypeError(f"{name}: given twice: {', '.join(sorted(twice))}")
        values = given | values
    complete = shape.values | values
    if len(complete) > len(shape.values):
        raise TypeError(f"{name}: no such field: {', '.join(sorted(values.keys() - shape.values.keys()))}")
    if not shape.required <= values.keys():
        raise TypeError(f"{name}: missing: {', '.join(sorted(shape.required - values.keys()))}")
    for field, make in shape.makers.items():
        if field not in values:
            complete[field] = make()
    object.__setattr__(self, "__dict__", complete)


def _contents(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, name) for name in _shape_of(self.__class__).values)


def _repr(self: Any) -> str:
    contents = zip(_shape_of(self.__class__).values, _contents(self), strict=True)
    return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in contents)})"


def _eq(self: Any, other: object) -> bool:
    return _contents(self) == _contents(other) if type(other) is type(self) else NotImplemented


def _hash(self: Any) -> int:
    return hash(_contents(self))


def _refuse(self: Any, name: str, _value: object = None) -> NoReturn:
    raise FrozenInstanceError(f"{type(self).__qualname__}.{name} cannot be changed")
