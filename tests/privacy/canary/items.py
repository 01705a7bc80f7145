"""Files of items (message_recorder.cc writes them), and what a recorded message says when it is
decoded.

An item is a pair (name, content). The recorder's names are "<kind> <number of the call> <method>".
"""

import collections
import struct


def read(path):
    data = path.read_bytes()
    items, at = [], 0
    while at < len(data):
        size, = struct.unpack_from("<I", data, at)
        name = data[at + 4:at + 4 + size].decode()
        at += 4 + size
        size, = struct.unpack_from("<Q", data, at)
        content = data[at + 8:at + 8 + size]
        if len(content) != size:
            raise ValueError(f"{path} ends in the middle of an item")
        items.append((name, content))
        at += 8 + size
    return items


def write(path, items):
    with open(path, "wb") as file:
        for name, content in items:
            encoded = name.encode()
            file.write(struct.pack("<I", len(encoded)) + encoded)
            file.write(struct.pack("<Q", len(content)) + content)


# --- protobuf's wire format ---------------------------------------------------------------------

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
        if shift > 63:
            raise ValueError("an endless varint")


def fields(message):
    """(number, wire type, value) of each field, or None where `message` is none."""
    if not isinstance(message, bytes):
        return None
    found, at = [], 0
    try:
        while at < len(message):
            key, at = varint(message, at)
            number, kind = key >> 3, key & 7
            if number == 0 or kind not in (VARINT, FIXED64, LENGTH, FIXED32):
                return None
            if kind == VARINT:
                value, at = varint(message, at)
            else:
                size = {FIXED64: 8, FIXED32: 4}.get(kind)
                if size is None:
                    size, at = varint(message, at)
                value = message[at:at + size]
                if len(value) != size:
                    return None
                at += size
            found.append((number, kind, value))
    except (IndexError, ValueError):
        return None
    return found


def field(message, *path):
    """The last field of those numbers, one below the other; None where there is none."""
    for number in path:
        values = [value for each, _, value in (fields(message) or []) if each == number]
        if not values:
            return None
        message = values[-1]
    return message


def doubles(packed):
    return list(struct.unpack(f"<{len(packed) // 8}d", packed))


def fixed32s(message, depth=12):
    """Every 32-bit number of a message and of the messages in it, one after the other: unpacked
    floats are neighbours here as they are in a row."""
    parts = []
    for _, kind, value in fields(message) or []:
        if kind == FIXED32:
            parts.append(value)
        elif kind == LENGTH and depth > 0:
            parts.append(fixed32s(value, depth - 1))
    return b"".join(parts)


# --- what was recorded --------------------------------------------------------------------------

class Call:
    """One RPC as its sender saw it."""

    def __init__(self, program, name):
        self.program = program  # "consilium-agent.1234"
        self.method = name.split(" ", 1)[1]  # "/package.Service/Method", or "served".
        self.name = f"{program} {name}"
        self.messages = []
        self.other = []  # Metadata and statuses.


def read_calls(folder):
    calls = collections.OrderedDict()
    for path in sorted(folder.glob("*.items")):
        for name, content in read(path):
            kind, call_name = name.split(" ", 1)
            call = calls.setdefault((path.stem, call_name), Call(path.stem, call_name))
            (call.messages if kind == "message" else call.other).append(content)
    return list(calls.values())


def decoded(calls):
    """What to search, as (name, content, is_one): each message, its numbers, and per call the
    content of each field put together over all messages, which for chunks is the payload."""
    for call in calls:
        joined = collections.defaultdict(list)
        for index, message in enumerate(call.messages):
            yield f"message {index} of {call.name}", message, True
            numbers = fixed32s(message)
            if len(numbers) > 4:
                yield f"numbers of message {index} of {call.name}", numbers, True
            for number, kind, value in fields(message) or []:
                if kind == LENGTH:
                    joined[number].append(value)
        for number, parts in joined.items():
            if len(parts) > 1:
                yield f"field {number} of all messages of {call.name}", b"".join(parts), False
        for index, content in enumerate(call.other):
            yield f"metadata or status {index} of {call.name}", content, True
