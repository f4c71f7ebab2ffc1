"""JSON that came from outside, read in one way at every door: what is no JSON is one sentence."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from sightline.errors import NotJsonError


def read_json(text: str) -> Any:
    """The value of a JSON text; of a name that an object has twice, the last counts.

    Raises NotJsonError: also for NaN and Infinity, for numbers of thousands of digits (reading them takes a
    time that grows with their square) and for nesting beyond what can be read.
    """
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise NotJsonError(f"{error.msg} at character {error.pos + 1}.") from error
    except RecursionError as error:
        raise NotJsonError("It nests too deeply.") from error
    except ValueError as error:
        raise NotJsonError("A number has too many digits.") from error


def _refuse(name: str) -> NoReturn:
    raise NotJsonError(f"{name} is no number that JSON or a database knows.")


# Made once: json.loads with an argument makes one for every text.
_DECODER = json.JSONDecoder(parse_constant=_refuse)
