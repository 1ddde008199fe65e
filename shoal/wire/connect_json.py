"""Messages as JSON, in protobuf's own mapping (https://protobuf.dev/programming-guides/json).

Names are in lowerCamelCase, and those of the .proto are read too. 64 bit integers are written as texts, and read as
texts or numbers. Bytes are base64. Enums are names. A field with its default is not written. A field that the message
does not have is refused.
"""

from __future__ import annotations

import json
from typing import TypeVar

from google.protobuf import json_format
from google.protobuf.message import Message

from shoal.core.errors import InvalidArgument

M = TypeVar("M", bound=Message)

_DEEPEST = 100
"""Most nested messages, as protobuf bounds them in its binary form."""

_LONGEST_TEXT = 200
"""Most characters of what protobuf tells about a text that it cannot read: it may quote the text."""


def message_from_json(kind: type[M], data: bytes) -> M:
    """Return the message of a JSON object. Raises InvalidArgument for what is not one, naming the field."""
    if not data.lstrip(b" \t\r\n").startswith(b"{"):
        raise InvalidArgument(f"a request in JSON must be an object of {kind.DESCRIPTOR.full_name}, such as {{}}")
    message = kind()
    try:
        json_format.Parse(data.decode("utf-8"), message, max_recursion_depth=_DEEPEST)
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"the JSON is not UTF-8: byte {data[error.start]:#04x} at {error.start}") from None
    except RecursionError:
        raise InvalidArgument("the JSON is nested too deeply") from None
    except (json_format.ParseError, ValueError, TypeError, AttributeError, KeyError, OverflowError) as error:
        raise InvalidArgument(f"the JSON is no {kind.DESCRIPTOR.full_name}: {_told(error)}") from None
    return message


def message_to_json(message: Message) -> bytes:
    """Return a message as a JSON object in UTF-8, without spaces."""
    return json.dumps(json_format.MessageToDict(message), ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _told(error: Exception) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "..."
