"""The rules for payloads, the same at each API boundary; and conversion between payloads and stored JSON texts.

A legal payload is a JSON object. Its keys are texts, and none occurs twice in one object; its texts are valid Unicode;
its numbers are finite; its integers have at most 8,192 bits (as in filters); it is at most 100 levels deep (a flat one
has 1) and 1 MiB long. A payload beyond these rules that an older version stored can still be read. The code does not
depend on the recursion limit, which differs between versions of Python: where `json` fails, `deep_json` is used.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import math
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from shoal.core.deep_json import DuplicateKey, Step, read_json, write_json
from shoal.core.errors import DataLoss, ErrorDetails, InvalidArgument
from shoal.core.joined_json import decoded_together, encoded_together, groups_of
from shoal.core.limits import DEFAULT_LIMITS, Limits
from shoal.core.moments import is_no_time, moment_text

_NAMED_BYTES = 256 * 1024
"""In a text of up to this size, an error names the place of any fault. In longer texts the search would take long."""

_ENCODED_AT_ONCE = 128
"""Payloads that are encoded in one call of `json`."""

_SHOWN_KEY, _SHOWN_STEPS = 64, 8
_TEXT = {str}
_LEAVES = frozenset((str, int, float, bool, type(None)))

_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_OPENING, _CLOSING = b"{[", b"}]"
_STEPS = bytes.maketrans(_OPENING + _CLOSING, b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(sorted(set(range(256)) - set(_OPENING + _CLOSING)))
_DIGITS = bytes(0x30 if sign in b"0123456789" else 0x20 for sign in range(256))


@dataclass(frozen=True, slots=True)
class PayloadFault:
    """Why a payload is not legal.

    path: steps to the fault; what: the fault, as the end of a sentence; limit: the bound that is exceeded.
    """

    path: tuple[Step, ...]
    what: str
    limit: str | None = None

    def error(self, index: int | None) -> InvalidArgument:
        """Return the error for payload number `index`; None: for the only one."""
        field, place = ("payload", "") if index is None else ("payloads", f"[{index}]")
        return InvalidArgument(
            f"{field}{place}{_shown_path(self.path)} {self.what}", ErrorDetails(field=field, index=index, limit=self.limit)
        )


def payloads_to_json(payloads: Iterable[Any], limits: Limits = DEFAULT_LIMITS) -> tuple[bytes | None, ...]:
    """Return the JSON text (UTF-8) of each payload; None for None. Scalars count as stored_scalar says.

    Raises InvalidArgument that names the first bad payload and the path to its fault.
    """
    texts: list[bytes | None] = []
    coming = iter(payloads)
    while group := list(islice(coming, _ENCODED_AT_ONCE)):
        given = [payload for payload in group if payload is not None]
        together = _plainly_encoded(given, limits)
        if together is None:
            texts += [payload_to_json(payload, index, limits) for index, payload in enumerate(group, start=len(texts))]
        else:
            encoded = iter(together)
            texts += [None if payload is None else next(encoded) for payload in group]
    return tuple(texts)


def _plainly_encoded(payloads: Sequence[Any], limits: Limits) -> list[bytes] | None:
    """Return the texts of payloads that are certainly legal; None if a closer look at each is needed."""
    if not all(_is_flat(payload, limits) or (isinstance(payload, Mapping) and _is_bounded(payload, limits)) for payload in payloads):
        return None
    texts = encoded_together(payloads, _encoded)
    if not texts:
        return texts
    longest = max(map(len, texts))
    if longest > limits.payload_bytes:
        return None
    if longest >= _long_integer_digits(limits) and any(_may_hold_long_integer(text, limits) for text in texts):
        return None
    return texts


def _is_flat(payload: Any, limits: Limits) -> bool:
    """Return whether a payload is a dict of texts to plain scalars, and not too large."""
    if type(payload) is not dict or len(payload) > limits.payload_bytes:
        return False
    return _TEXT.issuperset(map(type, payload)) and _LEAVES.issuperset(map(type, payload.values()))


def payload_to_json(payload: Any, index: int | None, limits: Limits = DEFAULT_LIMITS) -> bytes | None:
    """Return the JSON text (UTF-8) of payload number `index`: a dict or None. Scalars count as stored_scalar says.
    index: None for the only one.

    Raises InvalidArgument that names the path to the fault.
    """
    if payload is None:
        return None
    if not isinstance(payload, Mapping):
        raise PayloadFault((), f"must be a dict or None, not {type(payload).__name__}").error(index)
    text = _encoded(payload) if _is_bounded(payload, limits) else None
    if text is None or _may_hold_long_integer(text, limits):
        if (fault := first_fault(payload, limits)) is not None:
            raise fault.error(index)
        text = write_json(payload, _scalar_text, comma=",", colon=":").encode("utf-8") if text is None else text
    if len(text) > limits.payload_bytes:
        raise _too_long(len(text), limits).error(index)
    return text


def payload_from_json(text: bytes | None) -> dict[str, Any] | None:
    """Return the payload of a stored text, even of one that this version would not store.

    Raises DataLoss if it is not a JSON object.
    """
    if text is None:
        return None
    value = stored_value(text)
    if type(value) is not dict:
        raise DataLoss("a payload that was stored is no JSON object")
    return value


def stored_value(text: bytes) -> Any:
    """Return the value of a stored text; None if it is not JSON."""
    try:
        return _STORED.decode(text.decode("utf-8"))
    except (ValueError, RecursionError):
        pass
    try:
        return read_json(text.decode("utf-8"))
    except ValueError:
        return None


def stored_values(texts: Sequence[bytes | None]) -> Iterator[Any]:
    """Yield the value of each stored text, as stored_value gives it; None also for None."""
    given = [text for text in texts if text is not None]
    values = _stored_values(given)
    return (None if text is None else next(values) for text in texts)


def _stored_values(texts: Sequence[bytes]) -> Iterator[Any]:
    for start, end in groups_of(texts):
        together = decoded_together(texts[start:end], _STORED)
        yield from map(stored_value, texts[start:end]) if together is None else together


def value_from_json(text: str) -> Any:
    """Return the value of a JSON text that a user wrote, of any depth.

    Raises ValueError if it is not JSON, or if an object has a key twice, because one of the two values would be lost.
    """
    try:
        return _UNIQUE_KEYS.decode(text)
    except (ValueError, RecursionError):
        return read_json(text, unique_keys=True)


def check_payloads(payloads: Sequence[bytes | None], limits: Limits) -> None:
    """Raise InvalidArgument that names the first text that is not a legal payload."""
    given = [(index, text) for index, text in enumerate(payloads) if text is not None]
    texts = [text for _, text in given]
    for start, end in groups_of(texts):
        if not _are_plainly_legal(texts[start:end], limits):
            for index, text in given[start:end]:
                check_payload(text, limits, index)


def check_payload(text: bytes, limits: Limits, index: int | None = None) -> None:
    """Raise InvalidArgument if a text is not a legal payload. index: of the payload, None for the only one."""
    if len(text) > limits.payload_bytes:
        raise _too_long(len(text), limits).error(index)
    if not _are_plainly_legal((text,), limits) and (fault := text_fault(text, limits)) is not None:
        raise fault.error(index)


def text_fault(data: bytes, limits: Limits) -> PayloadFault | None:
    """Return why a text is not a legal payload, apart from its length; None if it is legal."""
    named = len(data) <= _NAMED_BYTES
    if not named and nesting(data) > limits.payload_depth:
        return _too_deep((), limits)
    try:
        text = data.decode("utf-8")
        value = read_json(text, unique_keys=True) if named else _LEGAL.decode(text)
    except DuplicateKey as error:
        return PayloadFault(error.path[:-1], f"gives the key {_shown_key(str(error.path[-1]))!r} twice in one object")
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        return PayloadFault((), f"is not JSON: {error}")
    except ValueError as error:
        return PayloadFault((), f"holds a number that is not allowed: {error}")
    if type(value) is not dict:
        return PayloadFault((), "is not a JSON object")
    return first_fault(value, limits)


def nesting(data: bytes) -> int:
    """Return the depth of the objects and lists in a JSON text."""
    # Without escapes, every second piece between quotes is a string. Splitting there is faster than the pattern.
    bare = _STRINGS.sub(b"", data) if b"\\" in data else b"".join(data.split(b'"')[::2])
    brackets = bare.translate(_STEPS, _NO_BRACKETS)
    return int(np.frombuffer(brackets, dtype=np.int8).cumsum(dtype=np.int64).max(initial=0))


def plain_value(value: Any) -> Any:
    """Return the Python value of a numpy scalar or of an array without dimensions.

    Other values are returned as they are, and so are dates and masked values.
    """
    if isinstance(value, np.ndarray) and value.ndim == 0 and not isinstance(value, np.ma.MaskedArray):
        value = value[()]
    return value.item() if isinstance(value, np.generic) and value.dtype.kind not in "mM" else value


def stored_scalar(value: Any) -> Any:
    """Return a value as payloads store it and filters compare it: a scalar of numpy as that of Python, a date, datetime
    (that of numpy, too) or UUID as its text. Other values are returned as they are.
    """
    if isinstance(value, uuid.UUID):
        return str(value)
    plain = plain_value(value)
    text = moment_text(plain)
    return plain if text is None else text


def first_fault(payload: Mapping[Any, Any], limits: Limits) -> PayloadFault | None:
    """Return the first fault of a payload, apart from its length in bytes; None if there is none."""
    path: list[Step] = []
    within: list[Iterator[tuple[Any, Any]]] = [iter(payload.items())]
    members = 0
    while within:
        found = next(within[-1], None)
        if found is None:
            within.pop()
            del path[-1:]
            continue
        step, value = found
        members += 1
        if members > limits.payload_bytes:
            return PayloadFault((), f"holds more than {limits.payload_bytes} values", "payload_bytes")
        if not isinstance(within[-1], enumerate) and (reason := _unfit_key(step)):
            return PayloadFault(tuple(path), reason)
        here = (*path, step)
        if isinstance(value, (Mapping, list, tuple)):
            if len(within) >= limits.payload_depth:
                return _too_deep(here, limits)
            path.append(step)
            within.append(iter(value.items()) if isinstance(value, Mapping) else enumerate(value))
        elif (reason_and_limit := _unfit_value(value, limits)) is not None:
            return PayloadFault(here, *reason_and_limit)
    return None


def _unfit_key(key: Any) -> str:
    """Return why a value is not a legal key; "" if it is one."""
    if not isinstance(key, str):
        return f"has the key {key!r}: keys must be strings, not {type(key).__name__}"
    return "" if _is_unicode(key) else f"has the key {key!a}, which is not valid Unicode"


def _unfit_value(value: Any, limits: Limits) -> tuple[str, str | None] | None:
    """Return why a value that holds no other values is not legal, and the limit it exceeds; None if it is legal."""
    plain = stored_scalar(value)
    match plain:
        case None | bool():
            return None
        case str():
            return None if _is_unicode(plain) else ("is not valid Unicode: it holds half of a surrogate pair", None)
        case int():
            bits, most = int(plain).bit_length(), limits.payload_integer_bits
            return None if bits <= most else (f"is an integer of {bits} bits, at most {most} are allowed", "payload_integer_bits")
        case float():
            return None if math.isfinite(plain) else (f"is {plain}: numbers must be finite; None says that there is no value", None)
    return f"is a {type(value).__name__}, which JSON does not have{_advice(value)}", None


def _advice(value: Any) -> str:
    match value:
        case np.ma.core.MaskedArray():
            return ": give None in place of masked values"
        case np.ndarray():
            return ": give its .tolist()"
        case datetime.datetime() | np.datetime64() if is_no_time(value):
            return ": give None in place of NaT"
        case datetime.datetime() | np.datetime64():
            return ": its year in UTC must be from 1 to 9999"
        case datetime.time():
            return ": give its .isoformat()"
        case np.timedelta64() | datetime.timedelta():
            return ": give a text or a number"
        case decimal.Decimal():
            return ": give a float or a text"
        case set() | frozenset():
            return ": give a list"
        case bytes() | bytearray() | memoryview():
            return ": give a text, for example in base64"
        case enum.Enum():
            return ": give its .value"
    return ": allowed are dict, list, str, int, float, bool and None"


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_bounded(payload: Mapping[Any, Any], limits: Limits) -> bool:
    """Return whether `json` may encode the payload: all keys are texts, and its depth and number of values are within
    bounds.

    A payload that contains itself is too deep.
    """
    waiting: list[tuple[Any, int]] = [(payload, 1)]
    values = 0
    while waiting:
        holder, depth = waiting.pop()
        values += len(holder)
        if depth > limits.payload_depth or values > limits.payload_bytes:
            return False
        members = holder
        if isinstance(holder, Mapping):
            if set(map(type, holder)) - _TEXT:
                return False
            members = holder.values()
        waiting += [(member, depth + 1) for member in members if type(member) not in _LEAVES and isinstance(member, (Mapping, list, tuple))]
    return True


def _encoded(payload: Mapping[Any, Any] | Sequence[Any]) -> bytes | None:
    """Return the text of a payload or a list of payloads; None if a value is not JSON, or `json` reaches the recursion
    limit."""
    try:
        return _ENCODER.encode(payload).encode("utf-8")
    except (TypeError, ValueError, RecursionError):
        return None


def _converted(value: Any) -> Any:
    """Return a value that `json` does not know as one that it knows. Raises TypeError."""
    if isinstance(value, Mapping):
        return dict(value)
    plain = stored_scalar(value)
    if plain is value:
        raise TypeError
    return plain


def _scalar_text(value: Any) -> str:
    return json.dumps(stored_scalar(value), ensure_ascii=False, allow_nan=False)


def _are_plainly_legal(texts: Sequence[bytes], limits: Limits) -> bool:
    """Return whether all texts are certainly legal; False if a closer check of each is needed."""
    longest = max(map(len, texts))
    # A legal text has two brackets for each level.
    if longest > limits.payload_bytes or (longest > 2 * limits.payload_depth and any(_is_deep(text, limits) for text in texts)):
        return False
    if longest >= _long_integer_digits(limits) and any(_may_hold_long_integer(text, limits) for text in texts):
        return False
    values = decoded_together(texts, _LEGAL)
    if values is None or set(map(type, values)) != {dict}:
        return False
    return not any(b"\\u" in text for text in texts) or _encoded(values) is not None


def _is_deep(data: bytes, limits: Limits) -> bool:
    return data.count(b"{") + data.count(b"[") > limits.payload_depth and nesting(data) > limits.payload_depth


def _long_integer_digits(limits: Limits) -> int:
    return int(limits.payload_integer_bits * math.log10(2)) + 1


def _may_hold_long_integer(data: bytes, limits: Limits) -> bool:
    digits = _long_integer_digits(limits)
    return len(data) >= digits and b"0" * digits in data.translate(_DIGITS)


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(members)
    if len(made) < len(members):
        seen: set[str] = set()
        raise DuplicateKey((next(key for key, _ in members if key in seen or seen.add(key)),))  # type: ignore[func-returns-value]
    return made


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError(f"{text[:32]} is not finite")
    return number


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not finite")


_LEGAL = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse_constant)
_STORED = json.JSONDecoder()
_UNIQUE_KEYS = json.JSONDecoder(object_pairs_hook=_unique)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"), default=_converted)


def _too_deep(path: tuple[Step, ...], limits: Limits) -> PayloadFault:
    return PayloadFault(path, f"is deeper than the {limits.payload_depth} levels that a payload may have", "payload_depth")


def _too_long(size: int, limits: Limits) -> PayloadFault:
    return PayloadFault((), f"has {size} bytes, at most {limits.payload_bytes} are allowed", "payload_bytes")


def _shown_path(path: tuple[Step, ...]) -> str:
    shown = "".join(f"[{step}]" if isinstance(step, int) else f".{_shown_key(step)}" for step in path[:_SHOWN_STEPS])
    return shown if len(path) <= _SHOWN_STEPS else f"{shown}..."


def _shown_key(key: str) -> str:
    text = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in key[:_SHOWN_KEY])
    return text if len(key) <= _SHOWN_KEY else f"{text}..."
