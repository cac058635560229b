"""The process that decodes pictures with libraries: it answers one request after the other until its input ends.

It runs apart, because the libraries' code meets bytes of anybody: when it crashes, hangs or asks for all memory, this
process ends, and nothing else does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import sys
from typing import Any, BinaryIO

_LENGTHS = struct.Struct("<QQ")
_BASE = 2**30  # bytes of address space that the process and its threads have without a picture
_PER_PIXEL = 32  # bytes of it: a picture is held as the library's planes, as RGB, and once more while it is turned
_GRACE = 5  # seconds after the time in which the asker would have ended this process, if it is still there

Message = tuple[dict[str, Any], bytes]


def write_message(stream: BinaryIO, head: dict[str, Any], body: bytes) -> None:
    """Writes a message: a few values, and bytes."""
    text = json.dumps(head).encode()
    stream.write(_LENGTHS.pack(len(text), len(body)) + text)
    stream.write(body)
    stream.flush()


def read_message(stream: BinaryIO) -> Message | None:
    """Reads what `write_message` wrote; None where the stream has ended."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head_length, body_length = _LENGTHS.unpack(lengths)
    head, body = stream.read(head_length), stream.read(body_length)
    return (json.loads(head), body) if len(body) == body_length else None


def main() -> None:
    """Answers the requests on standard input."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)  # what libraries print is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who interrupts the asker does not mean this process
    with contextlib.suppress(BrokenPipeError):
        while (request := read_message(requests)) is not None:
            head, body = request
            _limit(head)
            write_message(answers, *_answer(head, body))
            if sys.platform != "win32":
                signal.alarm(0)


def _limit(head: dict[str, Any]) -> None:
    """Limits memory and time, where the system can."""
    if sys.platform == "win32":
        return
    import resource

    signal.alarm(int(head["seconds"]) + _GRACE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # elsewhere it limits something else, or nothing
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = _BASE + _PER_PIXEL * head.get("max_pixels", 0)
        resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))


def _answer(head: dict[str, Any], body: bytes) -> Message:
    from PIL import Image

    from tfvlad.images import _library_decoding as decoding

    Image.MAX_IMAGE_PIXELS = None  # it is max_pixels that counts
    try:
        if head["task"] == "profile":
            return {"changes": decoding.changes_colours(body)}, b""
        if head["task"] == "measure":
            return {"size": decoding.measure(body)}, b""
        pixels, size = decoding.decode(body, head["max_pixels"], head["shortest_side"], head["longest_side"])
        return {"size": size, "shape": pixels.shape}, pixels.tobytes()
    except decoding.UnreadableError as error:
        return {"reason": str(error)}, b""
    except ImportError as error:
        return {"reason": f"the library that decodes it cannot be loaded: {error}", "passing": True}, b""
    except MemoryError:
        return {"reason": "there is not enough memory to decode it"}, b""
    except Exception as error:  # whatever a library raises at bytes that it does not expect
        if "memory" in str(error).lower():
            return {"reason": "there is not enough memory to decode it"}, b""
        return {"reason": f"a damaged or truncated {decoding.name_of(body)}"}, b""
