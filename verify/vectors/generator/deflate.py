"""A small encoder of deflate (RFC 1951) and zlib (RFC 1950).

The bytes that a zlib library writes differ between its versions. These do not, so that every
machine generates the same vectors. It encodes runs of equal bytes and nothing else.
"""

import re
import zlib

HEADER = b"\x78\xda"


def literal(byte):
    """Returns the bits of a byte in the fixed code."""
    return f"{0x30 + byte:08b}" if byte < 144 else f"{0x190 + byte - 144:09b}"


def repeat(count):
    """Returns the bits that repeat the byte before `count` times, for 258 and for 3 to 10."""
    length = "11000101" if count == 258 else f"{count - 2:07b}"
    return length + "00000"


def fixed_bits(data):
    """Returns the bits of the data in the fixed code, with the end of the block."""
    result = []
    for run in re.finditer(rb"(.)\1*", data, re.DOTALL):
        byte, rest = run.group(1)[0], len(run.group()) - 1
        result.append(literal(byte) + repeat(258) * (rest // 258))
        rest %= 258
        while rest >= 3:
            result.append(repeat(min(rest, 10)))
            rest -= min(rest, 10)
        result.append(literal(byte) * rest)
    return "".join(result) + "0000000"


def pack(bits):
    """Returns the bytes of a text of bits, the lowest bit of a byte first."""
    bits += "0" * (-len(bits) % 8)
    return int(bits[::-1], 2).to_bytes(len(bits) // 8, "little")


def fixed(data, last=True):
    """Returns a block in the fixed code, which ends at a byte only if it is the last."""
    return ("1" if last else "0") + "10" + fixed_bits(data)


def stored(data, last=True):
    """Returns a block that is not compressed."""
    size = len(data)
    return bytes([1 if last else 0]) + size.to_bytes(2, "little") + (
        size ^ 0xFFFF).to_bytes(2, "little") + data


def stream(deflated, data, header=HEADER):
    """Returns the zlib stream of deflated bytes."""
    return header + deflated + zlib.adler32(data).to_bytes(4, "big")


def compress(data):
    """Returns the zlib stream of bytes, in one block."""
    return stream(pack(fixed(data)), data)


def gzip(data):
    """Returns the bytes in the format of gzip (RFC 1952)."""
    return (b"\x1f\x8b\x08" + bytes(6) + b"\xff" + pack(fixed(data))
            + zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little"))
