"""Recordings of every kind and condition as 16 kHz mono PCM16."""

from __future__ import annotations

import base64
import io
import json
import random
import struct
import tracemalloc
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from service.audio import decode as module
from service.audio.decode import decode, opened, probe
from service.audio.plain import open_plain
from service.audio.samples import BLOCK_S
from service.domain import SAMPLE_RATE_HZ, AudioSource, Pcm, RawPcm
from service.errors import AudioTooLarge, InvalidRequest, UndecodableAudio
from tests.audio_files import (
    Encoding,
    Signal,
    chirp,
    encode,
    giant_packets,
    pcm16,
    soundless_video,
    tone,
    two_tracks,
    wav16,
    with_gap,
    write,
)
from tests.hostile_audio import distant_packets

Save = Callable[..., AudioSource]

# With the delay that a codec adds where its container has no field to undo it, in milliseconds.
FORMATS = [
    *((Encoding("wav", "pcm_s16le", rate_hz), 0) for rate_hz in (8000, 16000, 44100, 48000)),
    *((Encoding("wav", "pcm_s16le", rate_hz, 2), 0) for rate_hz in (8000, 16000, 44100, 48000)),
    *((Encoding("wav", f"pcm_{kind}", 16000), 0) for kind in ("u8", "s24le", "s32le", "f32le", "f64le")),
    (Encoding("wav", "pcm_mulaw", 8000), 0),
    (Encoding("wav", "pcm_alaw", 8000, 2), 0),
    (Encoding("wav", "pcm_s16le", 48000, 6), 0),
    (Encoding("w64", "pcm_s16le", 16000), 0),
    (Encoding("aiff", "pcm_s16be", 44100, 2), 0),
    (Encoding("caf", "pcm_s16be", 16000), 0),
    (Encoding("au", "pcm_mulaw", 8000), 0),
    (Encoding("mp3", "libmp3lame", 44100, 2), 0),
    (Encoding("mp3", "libmp3lame", 16000), 0),
    (Encoding("ipod", "aac", 44100, 2), 0),
    (Encoding("ipod", "alac", 44100, 2), 0),
    (Encoding("adts", "aac", 44100), 23),
    (Encoding("flac", "flac", 16000), 0),
    (Encoding("flac", "flac", 48000, 1, "s32"), 0),
    (Encoding("ogg", "libopus", 48000), 0),
    (Encoding("ogg", "flac", 16000), 0),
    (Encoding("webm", "libopus", 48000), 0),
    (Encoding("amr", "libopencore_amrnb", 8000, bit_rate=12_200), 5),
    (Encoding("3gp", "libopencore_amrnb", 8000, bit_rate=12_200), -1),
    (Encoding("asf", "wmav2", 44100, 2), -46),
    (Encoding("mp4", "aac", 48000, 2, with_video=True), 0),
    (Encoding("matroska", "libmp3lame", 44100, 2, with_video=True), 0),
    (Encoding("avi", "libmp3lame", 44100, 2, with_video=True), 25),
    (Encoding("mpegts", "aac", 48000, 2, with_video=True), 21),
]  # fmt: skip


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Saves bytes under a name that says nothing of the format."""

    def saved(data: bytes, raw: RawPcm | None = None) -> AudioSource:
        return AudioSource(write(tmp_path / "upload", data), raw=raw)

    return saved


def decoded(source: AudioSource) -> Pcm:
    return np.concatenate(list(decode(source)))


def noticed(source: AudioSource) -> list[str]:
    """What is told of a recording beside its sound."""
    plain = open_plain(source)
    with nullcontext(plain) if plain else opened(source.path, source.track) as decoding:
        list(decoding.blocks())
    return decoding.notes


def duration_s(samples: Pcm) -> float:
    return len(samples) / SAMPLE_RATE_HZ


def likeness(samples: Pcm, wanted: Signal) -> float:
    """Correlation with a 16 kHz signal."""
    length = min(len(samples), len(wanted))
    return float(np.corrcoef(samples[:length].astype(float), wanted[:length])[0, 1])


@pytest.mark.parametrize(
    ("encoding", "delay_ms"), FORMATS, ids=[f"{e.container}-{e.codec}-{e.rate_hz}-{e.channels}" for e, _ in FORMATS]
)
def test_a_format_keeps_its_sound_its_time_and_its_length(save: Save, encoding: Encoding, delay_ms: int) -> None:
    source = save(encode(chirp(2, encoding.rate_hz), encoding))
    samples = decoded(source)
    assert samples.dtype == np.int16
    assert duration_s(samples) == pytest.approx(2, abs=0.05)
    delay = delay_ms * SAMPLE_RATE_HZ // 1000
    wanted = chirp(2, SAMPLE_RATE_HZ)
    # A chirp at 3 kHz turns by a fifth in a sample, so within a millisecond the best fit is looked for.
    lags = range(delay - 16, delay + 17) if delay else [0]
    fits = [likeness(samples[max(lag, 0) :], wanted[max(-lag, 0) :]) for lag in lags]
    assert max(fits) > (0.9 if "amr" in encoding.codec else 0.93)
    assert probe(source) == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("kind", ["VORBIS", "OPUS"])
def test_an_ogg_of_another_writer_is_decoded(save: Save, kind: str) -> None:
    target = io.BytesIO()
    soundfile.write(target, chirp(2, 48000), 48000, format="OGG", subtype=kind)
    assert likeness(decoded(save(target.getvalue())), chirp(2, SAMPLE_RATE_HZ)) > 0.99


def test_amr_wideband_is_decoded(save: Save) -> None:
    silence = b"\x7c"  # frame type 15, no data: 20 ms
    assert duration_s(decoded(save(b"#!AMR-WB\n" + silence * 100))) == pytest.approx(2)


def test_a_16_khz_mono_wav_is_passed_through_bit_for_bit(save: Save) -> None:
    signal = np.random.default_rng(0).uniform(-1, 1, 25 * SAMPLE_RATE_HZ)
    assert decoded(save(wav16(signal))).tobytes() == pcm16(signal)


def test_blocks_are_whole_but_for_the_last(save: Save) -> None:
    blocks = list(decode(save(wav16(tone(25, 44100), 44100))))
    assert [len(block) for block in blocks] == [BLOCK_S * SAMPLE_RATE_HZ] * 2 + [5 * SAMPLE_RATE_HZ]


@pytest.mark.parametrize("rate_hz", [8000, 11025, 22050, 44100, 48000])
def test_resampling_in_pieces_leaves_no_seam(save: Save, rate_hz: int) -> None:
    signal = np.random.default_rng(0).uniform(-0.5, 0.5, 21 * rate_hz)
    at_once = soxr.resample(np.rint(signal * 32768).astype(np.float32), rate_hz, SAMPLE_RATE_HZ, quality="HQ")
    in_pieces = decoded(save(wav16(signal, rate_hz)))
    assert len(in_pieces) == len(at_once) == 21 * SAMPLE_RATE_HZ
    assert np.abs(in_pieces - np.clip(at_once, -32768, 32767)).max() <= 1


def test_both_channels_are_heard(save: Save) -> None:
    left_only = np.stack([tone(1, 16000), np.zeros(16000)], axis=1)
    right_only = left_only[:, ::-1]
    assert np.abs(decoded(save(wav16(left_only)))).max() == pytest.approx(0.15 * 32768, rel=0.01)
    assert np.abs(decoded(save(wav16(right_only)))).max() == pytest.approx(0.15 * 32768, rel=0.01)


def test_numbers_that_are_none_are_silent_and_loud_ones_clipped(save: Save) -> None:
    signal = np.full(16000, 0.5)
    signal[100:200], signal[300:400], signal[500:600], signal[700:800] = np.nan, np.inf, -7.0, 1e30
    samples = decoded(save(encode(signal, Encoding("wav", "pcm_f32le", 16000))))
    assert not samples[100:200].any()
    assert not samples[300:400].any()
    assert set(samples[500:600]) == {-32768}
    assert set(samples[700:800]) == {32767}
    assert set(samples[800:]) == {16384}


def test_numbers_that_are_none_do_not_spread_through_the_resampler(save: Save) -> None:
    signal = tone(1, 48000)
    signal[24000:24010] = np.nan
    samples = decoded(save(encode(signal, Encoding("wav", "pcm_f32le", 48000, 2))))
    assert likeness(samples, tone(1, 16000)) > 0.999


def test_a_rate_that_changes_on_the_way_keeps_time(save: Save) -> None:
    first = encode(tone(2, 44100), Encoding("mp3", "libmp3lame", 44100))
    second = encode(tone(2, 16000), Encoding("mp3", "libmp3lame", 16000))
    samples = decoded(save(first + second))
    assert duration_s(samples) == pytest.approx(4, abs=0.15)
    ends = samples[SAMPLE_RATE_HZ : SAMPLE_RATE_HZ * 7 // 4], samples[SAMPLE_RATE_HZ * 5 // 2 : SAMPLE_RATE_HZ * 7 // 2]
    assert [int(np.abs(np.fft.rfft(end)).argmax() * SAMPLE_RATE_HZ / len(end)) for end in ends] == [440, 440]


@pytest.mark.parametrize(("rate_hz", "channels"), [(8000, 1), (16000, 1), (16000, 2), (44100, 2), (96000, 1)])
def test_headerless_pcm_is_read_as_the_client_says(save: Save, rate_hz: int, channels: int) -> None:
    signal = np.repeat(chirp(2, rate_hz)[:, None], channels, axis=1)
    source = save(pcm16(signal), RawPcm(rate_hz, channels))
    assert likeness(decoded(source), chirp(2, SAMPLE_RATE_HZ)) > 0.999
    assert duration_s(decoded(source)) == probe(source) == 2


def test_an_odd_byte_at_the_end_of_headerless_pcm_is_dropped(save: Save) -> None:
    samples = pcm16(tone(1, 16000))
    assert decoded(save(samples + b"\x7f", RawPcm(16000))).tobytes() == samples
    assert len(decoded(save(samples + b"\x7f", RawPcm(16000, 2)))) == 8000


@pytest.mark.parametrize("raw", [RawPcm(7999), RawPcm(96001), RawPcm(0), RawPcm(16000, 0), RawPcm(16000, 65)])
def test_headerless_pcm_of_an_impossible_kind_is_refused(save: Save, raw: RawPcm) -> None:
    source = save(bytes(1000), raw)
    with pytest.raises(InvalidRequest):
        decoded(source)
    with pytest.raises(InvalidRequest):
        probe(source)


@pytest.mark.parametrize("data", [b"", b"\x01"])
def test_headerless_pcm_without_a_sample_is_refused(save: Save, data: bytes) -> None:
    with pytest.raises(UndecodableAudio):
        decoded(save(data, RawPcm(16000)))


@pytest.mark.parametrize("length_s", [0.001, 0.03, 0.05])
@pytest.mark.parametrize(
    "encoding",
    [Encoding("wav", "pcm_s16le", 16000), Encoding("mp3", "libmp3lame", 16000), Encoding("ipod", "aac", 16000)],
)
def test_a_moment_of_sound_is_decoded(save: Save, length_s: float, encoding: Encoding) -> None:
    assert duration_s(decoded(save(encode(tone(length_s, 16000), encoding)))) == pytest.approx(length_s, abs=0.07)


def test_silence_is_decoded(save: Save) -> None:
    samples = decoded(save(encode(np.zeros(3 * 44100), Encoding("mp3", "libmp3lame", 44100, 2))))
    assert duration_s(samples) == pytest.approx(3, abs=0.01)
    assert np.abs(samples).max() <= 1


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
NOT_AUDIO = {
    "empty": b"",
    "one byte": b"\x00",
    "zeros": bytes(100_000),
    "ones": b"\xff" * 100_000,
    "sync bytes": b"\x47" * 100_000,
    "text": b"Nothing but a text, said nobody, ever. " * 200,
    "html": b"<!DOCTYPE html><html><head><title>404</title></head><body>Not found</body></html>",
    "json": json.dumps({"error": {"message": "no", "code": 404}}).encode(),
    "png": PNG,
    "zip": b"PK\x03\x04\x14\x00\x00\x00\x08\x00" + bytes(200),
    "mp3 header and noise": b"\xff\xfb\x90\x00" + random.Random(0).randbytes(50_000),
    "tag and noise": b"ID3\x04\x00\x00\x00\x00\x00\x00" + random.Random(0).randbytes(50_000),
    "wav header only": wav16(np.zeros(0)),
    "wav header cut": wav16(tone(1, 16000))[:30],
    "flac header only": encode(tone(1, 16000), Encoding("flac", "flac", 16000))[:42],
    "ogg header only": encode(tone(1, 48000), Encoding("ogg", "libopus", 48000))[:60],
    "m4a without index": encode(tone(2, 44100), Encoding("ipod", "aac", 44100))[:9000],
    "sdp": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5004 RTP/AVP 0\r\n",
    "metadata": b";FFMETADATA1\ntitle=x\n",
    "a script that ffmpeg would play": b"-SE\nton: 440+4/50\noff: -\nNOW ton\n+00:01:00 off\n",
    "subtitles": b"1\n00:00:00,000 --> 00:00:01,000\nhello\n",
}


@pytest.mark.parametrize("data", NOT_AUDIO.values(), ids=NOT_AUDIO.keys())
def test_what_is_not_audio_is_refused_and_never_taken_for_pcm(save: Save, data: bytes) -> None:
    with pytest.raises(UndecodableAudio) as refusal:
        decoded(save(data))
    assert "/" not in refusal.value.message


def test_random_bytes_are_never_audio(save: Save) -> None:
    dice = random.Random(1)
    for size in [*range(1, 60), *(dice.randrange(60, 200_000) for _ in range(60))]:
        source = save(dice.randbytes(size))
        with pytest.raises(UndecodableAudio):
            decoded(source)
        with pytest.raises(UndecodableAudio):
            probe(source)


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile {target}\n",
        "file '{target}'\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"'
        ' mediaPresentationDuration="PT1S">'
        '<Period><AdaptationSet mimeType="audio/wav"><Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL>'
        "<SegmentBase/></Representation></AdaptationSet></Period></MPD>",
    ],
    ids=["hls", "concat", "concat without magic", "dash"],
)
def test_a_playlist_opens_no_other_file(save: Save, tmp_path: Path, playlist: str) -> None:
    target = write(tmp_path / "other.wav", wav16(tone(1, 16000)))
    with pytest.raises(UndecodableAudio):
        decoded(save(playlist.format(target=target).encode()))


def test_a_video_without_sound_is_named_as_such(save: Save) -> None:
    with pytest.raises(UndecodableAudio, match="video without sound"):
        decoded(save(soundless_video()))


@pytest.mark.parametrize(
    "encoding",
    [
        Encoding("wav", "pcm_s16le", 16000),
        Encoding("mp3", "libmp3lame", 44100, 2),
        Encoding("flac", "flac", 16000),
        Encoding("ogg", "libopus", 48000),
        Encoding("webm", "libopus", 48000),
        Encoding("adts", "aac", 44100),
    ],
    ids=lambda encoding: encoding.container,
)
def test_a_recording_that_is_cut_off_is_decoded_to_where_it_ends(save: Save, encoding: Encoding) -> None:
    data = encode(chirp(10, encoding.rate_hz), encoding)
    samples = decoded(save(data[: len(data) // 2]))
    assert duration_s(samples) == pytest.approx(5, abs=0.8)
    start = 3 * SAMPLE_RATE_HZ
    assert likeness(samples[:start], chirp(10, SAMPLE_RATE_HZ)[:start]) > (0.9 if encoding.container != "adts" else -1)


def test_a_fragmented_mp4_that_is_cut_off_is_decoded_to_where_it_ends(save: Save) -> None:
    fragments = {"movflags": "frag_keyframe+empty_moov"}
    data = encode(tone(10, 44100), Encoding("mp4", "aac", 44100, options=fragments))
    assert duration_s(decoded(save(data[: len(data) // 2]))) == pytest.approx(5, abs=0.8)


def test_a_wav_header_that_never_learned_its_size_is_read_to_the_end(save: Save) -> None:
    samples = pcm16(tone(3, 16000))
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16)
    for size in (0, 0xFFFF_FFFF, 2_000_000_000):
        header = struct.pack("<4sI4s", b"RIFF", size, b"WAVE") + fmt + struct.pack("<4sI", b"data", size)
        source = save(header + samples)
        assert np.concatenate(list(decode(source, max_duration_s=10))).tobytes() == samples
        assert probe(source) in (None, pytest.approx(3, abs=0.01))


def test_a_corrupt_stretch_becomes_silence_of_its_length(save: Save) -> None:
    data = bytearray(encode(tone(10, 44100), Encoding("ipod", "aac", 44100)))
    whole_s = duration_s(decoded(save(bytes(data))))
    middle = len(data) // 2
    data[middle : middle + 2000] = b"\xff" * 2000
    source = save(bytes(data))
    samples = decoded(source)
    assert duration_s(samples) == pytest.approx(whole_s, abs=0.03)
    assert np.abs(samples[-SAMPLE_RATE_HZ:]).max() > 5000
    assert "Corrupt audio packets" in noticed(source)[0]


def test_a_file_that_is_mostly_corrupt_is_refused(save: Save) -> None:
    data = bytearray(encode(tone(10, 44100), Encoding("ipod", "aac", 44100)))
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[start:end] = b"\xff" * (end - start)
    with pytest.raises(UndecodableAudio, match="corrupt"):
        decoded(save(bytes(data)))


def test_sound_that_starts_late_in_a_video_keeps_its_place(save: Save) -> None:
    data = encode(tone(2, 48000), Encoding("mp4", "aac", 48000, with_video=True), start_s=1.5)
    samples = decoded(save(data))
    assert duration_s(samples) == pytest.approx(3.5, abs=0.05)
    assert np.abs(samples[: int(1.4 * SAMPLE_RATE_HZ)]).max() == 0
    assert np.abs(samples[int(1.6 * SAMPLE_RATE_HZ) :]).max() > 5000


def test_a_recording_past_the_limit_is_refused_by_its_header_before_any_of_it_is_decoded(save: Save) -> None:
    with pytest.raises(AudioTooLarge, match="limit of 10 s"):
        next(decode(save(wav16(tone(30, 16000))), max_duration_s=10))


def test_a_recording_past_the_limit_is_stopped_where_no_header_tells(save: Save) -> None:
    blocks = decode(save(encode(tone(40, 16000), Encoding("adts", "aac", 16000))), max_duration_s=25)
    assert len(next(blocks)) == BLOCK_S * SAMPLE_RATE_HZ
    with pytest.raises(AudioTooLarge):
        list(blocks)


def test_a_recording_of_just_the_limit_is_decoded(save: Save) -> None:
    assert sum(map(len, decode(save(wav16(tone(10, 16000))), max_duration_s=10))) == 160_000


def test_a_small_file_of_endless_silence_is_stopped_at_the_limit(save: Save) -> None:
    bomb = encode(np.zeros(1200 * 8000), Encoding("flac", "flac", 8000))
    assert len(bomb) < 300_000
    with pytest.raises(AudioTooLarge):
        list(decode(save(bomb), max_duration_s=60))


def test_a_duration_that_the_bytes_cannot_hold_is_not_believed(save: Save) -> None:
    data = bytearray(encode(tone(1, 16000), Encoding("flac", "flac", 16000)))
    # STREAMINFO's last 36 bits before the checksum count the samples.
    data[21:26] = bytes([data[21] | 0x0F]) + b"\xff" * 4
    assert probe(save(bytes(data))) is None
    assert sum(map(len, decode(save(bytes(data)), max_duration_s=10))) == 16000


def test_a_packet_too_large_for_audio_is_refused_instead_of_held(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PACKET_BYTES", 40_000)
    with pytest.raises(UndecodableAudio, match="too large"):
        decoded(save(giant_packets(500_000)))


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "long"
    with path.open("wb") as file:
        file.truncate(10 * 60 * 2 * 44100 * 2)
    source = AudioSource(str(path), raw=RawPcm(44100, 2))
    tracemalloc.start()
    total = sum(map(len, decode(source)))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 10 * 60 * SAMPLE_RATE_HZ
    assert peak_bytes < 8_000_000


def test_titles_in_any_encoding_do_no_harm(save: Save) -> None:
    data = wav16(tone(1, 16000))
    title = b"LIST" + struct.pack("<I", 18) + b"INFOINAM" + struct.pack("<I", 6) + b"\xd6\xd0\xff\xfe\xce\x00"
    assert len(decoded(save(data + title))) == 16000
    assert len(decoded(save(data[:12] + title + data[12:]))) == 16000


def test_an_abandoned_recording_is_closed(save: Save) -> None:
    blocks = decode(save(wav16(tone(30, 16000))))
    next(blocks)
    blocks.close()
    with pytest.raises(StopIteration):
        next(blocks)


# What is noticed on the way


@pytest.mark.parametrize(
    "encoding", [encoding for encoding, _ in FORMATS], ids=[f"{e.container}-{e.codec}-{e.rate_hz}" for e, _ in FORMATS]
)
def test_of_a_good_recording_nothing_is_told(save: Save, encoding: Encoding) -> None:
    assert noticed(save(encode(chirp(5, encoding.rate_hz), encoding))) == []


@pytest.mark.parametrize(
    "encoding",
    [
        Encoding("wav", "pcm_s16le", 16000),
        Encoding("wav", "adpcm_ms", 16000),
        Encoding("mp3", "libmp3lame", 44100, 2),
        Encoding("flac", "flac", 16000),
        Encoding("webm", "libopus", 48000),
    ],
    ids=lambda encoding: f"{encoding.container}-{encoding.codec}",
)
def test_that_a_recording_was_cut_off_is_told(save: Save, encoding: Encoding) -> None:
    data = encode(chirp(10, encoding.rate_hz), encoding)
    source = save(data[: len(data) // 2])
    assert duration_s(decoded(source)) < 6
    assert any("cut off" in note or "corrupt" in note for note in noticed(source)), noticed(source)


def test_joined_wavs_are_read_to_the_end(save: Save) -> None:
    first, second = wav16(tone(2, 16000)), wav16(chirp(3, 44100), 44100)
    tags = b"LIST" + struct.pack("<I", 5) + b"INFOx\0"
    source = save(first + tags + second)
    samples = decoded(source)
    assert duration_s(samples) == pytest.approx(5, abs=0.001)
    assert probe(source) == pytest.approx(5, abs=0.001)
    assert likeness(samples[2 * SAMPLE_RATE_HZ :], chirp(3, SAMPLE_RATE_HZ)) > 0.99
    assert noticed(source) == []


def test_what_follows_a_wav_and_is_no_audio_is_told(save: Save) -> None:
    assert "last 5000 bytes" in noticed(save(wav16(tone(1, 16000)) + bytes(5000)))[0]


def test_a_wav_may_be_joined_to_countless_others(save: Save) -> None:
    source = save(wav16(tone(0.01, 16000)) * 5000)
    assert duration_s(decoded(source)) == pytest.approx(10, abs=0.01)
    assert "can be read with the rest" in noticed(source)[0]


@pytest.mark.parametrize("encoding", [Encoding("flac", "flac", 16000), Encoding("ogg", "libopus", 48000)])
def test_joined_recordings_are_read_to_the_end(save: Save, encoding: Encoding) -> None:
    joined = encode(tone(2, encoding.rate_hz), encoding) + encode(tone(3, encoding.rate_hz), encoding)
    assert duration_s(decoded(save(joined))) == pytest.approx(5, abs=0.05)


def test_that_only_the_first_of_joined_mp4s_is_read_is_told(save: Save) -> None:
    data = encode(tone(2, 44100), Encoding("mp4", "aac", 44100))
    assert "several recordings" in noticed(save(data + data))[0]


@pytest.mark.parametrize(("container", "audio"), [("matroska", "libopus"), ("mp4", "aac")])
def test_the_default_track_is_taken_and_another_can_be_chosen(save: Save, container: str, audio: str) -> None:
    source = save(two_tracks(container, audio, default=2))
    samples = decoded(source)
    assert int(np.abs(np.fft.rfft(samples)).argmax() * SAMPLE_RATE_HZ / len(samples)) == pytest.approx(880, abs=2)
    assert noticed(source) == ["The recording has 2 audio tracks; track 2 was transcribed (`audio_track` chooses one)."]
    first = decoded(replace(source, track=1))
    assert int(np.abs(np.fft.rfft(first)).argmax() * SAMPLE_RATE_HZ / len(first)) == pytest.approx(440, abs=2)


def test_a_track_that_is_not_there_is_the_requests_fault(save: Save) -> None:
    source = save(two_tracks("matroska", "libopus", default=1))
    for track in (0, 3):
        with pytest.raises(InvalidRequest, match="2 audio tracks") as raised:
            decoded(replace(source, track=track))
        assert raised.value.param == "audio_track"


@pytest.mark.parametrize("container", ["mpegts", "vob", "matroska", "mp4"])
def test_a_late_start_and_a_gap_keep_their_place(save: Save, container: str) -> None:
    codec = "mp2" if container == "vob" else "aac"
    samples = decoded(save(with_gap(container, codec, late_s=1.5, gap_s=2.0)))
    loud = np.abs(samples.astype(int)) > 2000
    heard = np.flatnonzero(loud) / SAMPLE_RATE_HZ
    assert heard[0] == pytest.approx(1.5, abs=0.1)
    assert heard[heard < 3.5][-1] == pytest.approx(2.5, abs=0.1)
    assert heard[heard > 3.5][0] == pytest.approx(4.5, abs=0.1)
    assert heard[-1] == pytest.approx(5.5, abs=0.1)


def test_that_a_pause_was_left_out_is_told(save: Save) -> None:
    assert "left out" in noticed(save(distant_packets(3, 3700)))[0]
