"""FLAC (RFC 9639)."""

import struct
from typing import BinaryIO

from emolake.audio.containers.declared import Declared, read_at


def _crc8(data: bytes) -> int:
    """Compute the CRC-8 of RFC 9639, polynomial x^8 + x^2 + x + 1, over a frame header."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


def _flac_position(head: bytes, block: int) -> int | None:
    """Return the first sample of the frame that `head` opens with, at `block` samples a frame; None when it is none."""
    if len(head) < 16 or head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 0x01:
        return None
    lead = head[4]
    more = 0 if lead < 0x80 else 8 - (lead ^ 0xFF).bit_length() - 1
    if lead >= 0x80 and not 1 <= more <= 6:
        return None
    number = lead if more == 0 else lead & (0x3F >> more)
    for byte in head[5 : 5 + more]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    end = 5 + more + {6: 1, 7: 2}.get(head[2] >> 4, 0) + {12: 1, 13: 2, 14: 2}.get(head[2] & 0x0F, 0)
    if end >= len(head) or _crc8(head[:end]) != head[end]:
        return None
    return number if head[1] & 1 else number * block


def flac(file: BinaryIO, size: int) -> Declared:
    """Read FLAC's STREAMINFO; the last frames show whether it declares less than there is."""
    body = read_at(file, 8, 34)
    if len(body) < 34:
        return Declared(None, "the file ends within its header", codec="flac")
    block, largest_frame = struct.unpack(">H", body[2:4])[0], int.from_bytes(body[7:10])
    packed = int.from_bytes(body[10:18])
    rate, channels, frames = packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1
    if frames == 0 or rate == 0:
        # A stream of unknown length, which libsndfile refuses.
        return Declared(None, None, rate, channels, understated=True, codec="flac")
    tail = read_at(file, max(0, size - max(65_536, 2 * largest_frame)), 1 << 21)
    at = tail.find(b"\xff")
    understated = False
    while at >= 0 and not understated:
        position = _flac_position(tail[at : at + 16], block)
        understated = position is not None and position >= frames
        at = tail.find(b"\xff", at + 1)
    return Declared(frames / rate, None, rate, channels, understated, codec="flac")
