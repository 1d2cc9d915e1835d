"""Files of a few hundred bytes that ask for a thousand times as much memory, time or sound."""

from __future__ import annotations

import io
import struct
from fractions import Fraction

import av

from tests.audio_files import Encoding, chirp, encode


def endless_index(samples: int) -> bytes:
    """An MP4 of AAC whose index has so many samples of one byte each, in a table that says so once."""

    def box(name: bytes, *parts: bytes) -> bytes:
        content = b"".join(parts)
        return struct.pack(">I4s", len(content) + 8, name) + content

    def full(*numbers: int) -> bytes:
        return struct.pack(f">{len(numbers) + 1}I", 0, *numbers)

    def descriptor(tag: int, content: bytes) -> bytes:
        return bytes([tag, len(content)]) + content

    matrix = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
    movie = box(
        b"mvhd", full(0, 0, 1000, 1000, 0x10000, 0x1000000, 0, 0)[:-2], bytes(2), matrix, bytes(24), b"\0\0\0\2"
    )
    track = box(b"tkhd", b"\0\0\0\7", struct.pack(">5I", 0, 0, 1, 0, 1000), bytes(16), matrix, bytes(8))
    media = box(b"mdhd", full(0, 0, 16_000, samples * 1024 & 0xFFFF_FFFF), b"\x55\xc4\0\0")
    handler = box(b"hdlr", full(0), b"soun", bytes(13))
    config = descriptor(4, b"\x40\x15\0\0\0" + struct.pack(">II", 64_000, 64_000) + descriptor(5, b"\x14\x08"))
    elementary = box(b"esds", full(), descriptor(3, b"\0\1\0" + config + descriptor(6, b"\2")))
    entry = bytes(6) + b"\0\1" + bytes(8) + struct.pack(">HHHHI", 1, 16, 0, 0, 16_000 << 16)
    table = box(
        b"stbl",
        box(b"stsd", full(1), box(b"mp4a", entry, elementary)),
        box(b"stts", full(1, samples, 1024)),
        box(b"stsc", full(1, 1, samples, 1)),
        box(b"stsz", full(1, samples)),
        box(b"stco", full(1, 48)),
    )
    data = box(b"dinf", box(b"dref", full(1), box(b"url ", b"\0\0\0\1")))
    sound = box(b"minf", box(b"smhd", full(0)), data, table)
    index = box(b"moov", movie, box(b"trak", track, box(b"mdia", media, handler, sound)))
    return box(b"ftyp", b"isom\0\0\2\0isomiso2") + box(b"mdat", bytes(100)) + index


def distant_packets(count: int, apart_s: int) -> bytes:
    """A WebM of Opus whose packets, 20 ms each, lie so far apart on its timeline."""
    ogg = encode(chirp(0.02 * (count + 2), 48_000), Encoding("ogg", "libopus", 48_000))
    target = io.BytesIO()
    with av.open(io.BytesIO(ogg)) as source, av.open(target, "w", format="webm") as container:
        stream = container.add_stream_from_template(source.streams.audio[0])
        for index, packet in zip(range(count), source.demux(), strict=False):
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            packet.pts = packet.dts = 1000 * apart_s * index
            container.mux(packet)
    return target.getvalue()


def constant_frames(count: int) -> bytes:
    """A FLAC of frames of 65,535 samples at 8 kHz that are all zero: 14 bytes for 8 s."""
    rate_hz, block = 8_000, 65_535
    info = struct.pack(">HH6x", block, block) + ((rate_hz << 44) | (15 << 36)).to_bytes(8, "big") + bytes(16)
    frames = [_constant_frame(number, block) for number in range(count)]
    return b"fLaC\x80" + struct.pack(">I", len(info))[1:] + info + b"".join(frames)


def _constant_frame(number: int, block: int) -> bytes:
    # Fixed block size, given in 16 bits; 8 kHz; mono; 16 bits; a subframe of one value.
    header = b"\xff\xf8" + bytes([0x74, 0x08]) + chr(number).encode() + struct.pack(">H", block - 1)
    frame = header + bytes([_crc(header, 8, 0x07)]) + b"\0" + b"\0\0"
    return frame + struct.pack(">H", _crc(frame, 16, 0x8005))


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    remainder = 0
    for byte in data:
        remainder ^= byte << (bits - 8)
        for _ in range(8):
            carry = remainder >> (bits - 1)
            remainder = (remainder << 1 ^ (polynomial if carry else 0)) & ((1 << bits) - 1)
    return remainder
