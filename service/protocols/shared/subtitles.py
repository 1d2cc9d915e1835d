"""Cuts a transcript into cues that can be read while listening, as SubRip (srt) and WebVTT (vtt) subtitles.

Times are whole milliseconds throughout, rounded once when they are read, so that no later sum can
make two cues overlap by a fraction.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, groupby, pairwise

from service.domain import Segment, Transcript, is_cjk
from service.protocols.shared.sentences import CLAUSE_END, CLOSING, SENTENCE_END

MAX_CUE_MS = 7_000
MIN_CUE_MS = 800
READABLE_MS = 500  # for so long a cue stays even where the next one's words have begun, if that one can wait
PAUSE_MS = 300
LONG_PAUSE_MS = 1_000  # never within a cue: its text would be read long before it is said

# Widths are in tenths of a Latin character: a line holds 42 Latin or 20 CJK characters, or a mixture.
LATIN_WIDTH = 10
CJK_WIDTH = 21
LINE_WIDTH = 420

# What it costs to end a cue (or, less strictly, a line) somewhere. Each kind is dearer than several
# breaks of the kind before it, so a worse kind is taken only where the better ones can't do.
SENTENCE_BREAK, CLAUSE_BREAK, PAUSE_BREAK, WORD_BREAK, INSIDE_WORD_BREAK = 0.0, 2.0, 5.0, 12.0, 100.0
# What the shape of a cue costs, on the same scale.
CUE_COST = 1.0
FULL_CUE_COST = 1.0  # grows with the square of the width, so that neighbours share a long sentence evenly
SHORT_CUE_COST = 6.0  # for a cue that its successor pushes off the screen at once
SENTENCE_INSIDE_COST = 3.0
SILENCE_INSIDE_COST_PER_S = 3.0  # for silence beyond 0.5 s
UNBALANCED_LINES_COST = 10.0  # for two lines that differ by a whole line
NUMBER_LINE_COST = 100.0  # for a second line that is a bare number: lenient parsers take it for the next cue's

# Chinese subtitles carry no comma or full stop at a line's end: the break says as much. ？ and ！ stay,
# and so does Latin punctuation, which English subtitles keep.
_UNSEEN_AT_LINE_END = "，。、 "
# Opening marks go with the word that follows; a straight quote opens only after a space.
_OPENING_MARKS = re.compile(r"""(?:[“‘《〈「『（【(\[{]|(?<=\s)["'])*$""")


@dataclass(frozen=True, slots=True)
class Cue:
    """Says what is on the screen from ``start_s`` to ``end_s``.

    Attributes:
        start_s: When it comes.
        end_s: When it goes.
        lines: One or two, none of them blank.
        speaker: Whose words they are; None where speakers were not told apart.
    """

    start_s: float
    end_s: float
    lines: tuple[str, ...]
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class _Piece:
    """Holds a slice of a segment's text that stays together: a word with the marks and the space around it."""

    text: str
    start_ms: int
    end_ms: int
    ends_word: bool = True


def srt(transcript: Transcript) -> str:
    """Renders the transcript as a SubRip file; the empty string when nothing was said."""
    return "".join(
        f"{number}\n{_timestamp(cue.start_s, ',')} --> {_timestamp(cue.end_s, ',')}\n{_marked(cue)}\n\n"
        for number, cue in enumerate(cues(transcript), start=1)
    )


def vtt(transcript: Transcript) -> str:
    """Renders the transcript as a WebVTT file (https://www.w3.org/TR/webvtt1/); only its header when nothing was said.

    Cues are numbered, as they need not be, because pysubs2 reads a bare number above a time as one anyway.
    """
    return "WEBVTT\n\n" + "".join(
        f"{number}\n{_timestamp(cue.start_s, '.')} --> {_timestamp(cue.end_s, '.')}\n{_escaped(_marked(cue))}\n\n"
        for number, cue in enumerate(cues(transcript), start=1)
    )


def cues(transcript: Transcript) -> list[Cue]:
    """Cuts the transcript into cues of at most 7 s and two lines of 20 CJK or 42 Latin characters.

    They are in order and don't overlap. A cue belongs to one segment and ends at a sentence's end where one can be
    had, else after a comma, else at a pause, else between two words, and in any case at a pause of a second. It comes
    when its first word is said and goes with its last, but stays 0.8 s if what follows leaves the time, and 0.5 s if
    what follows can wait. Only a word wider than a line is ever split; a word said to last longer than 7 s is shown for
    its first 7.
    """
    spoken = [(segment, pieces) for segment in transcript.segments if (pieces := _pieces(segment))]
    edges_ms = [*(pieces[0].start_ms for _, pieces in spoken), _ms(transcript.duration_s)]
    said: list[Cue] = []
    for (segment, pieces), next_ms in zip(spoken, edges_ms[1:], strict=True):
        layout = _Layout(pieces, _mark_width(_label(segment)), next_ms)
        for first, last in layout.cue_bounds():
            if lines := layout.lines(first, last):
                start_s, end_s = pieces[first].start_ms / 1000, pieces[last - 1].end_ms / 1000
                said.append(Cue(start_s, end_s, lines, _label(segment)))
    return _on_screen(said, _ms(transcript.duration_s))


def _on_screen(said: Sequence[Cue], duration_ms: int) -> list[Cue]:
    """Turns the times of the cues' words into times on the screen."""
    end_ms = max([duration_ms, *(_ms(cue.end_s) for cue in said[-1:])])
    limits_ms = [*(_ms(cue.start_s) for cue in said[1:]), end_ms]
    # So late a cue may go for each of those after it to stay as long as can be read.
    latest_ms = limits_ms[:]
    for i in range(len(said) - 2, -1, -1):
        latest_ms[i] = max(limits_ms[i], latest_ms[i + 1] - READABLE_MS)
    shown: list[Cue] = []
    free_from_ms = 0
    for cue, next_ms, last_ms in zip(said, limits_ms, latest_ms, strict=False):
        said_until_ms = _ms(cue.end_s)
        start_ms = max(_ms(cue.start_s), free_from_ms)
        limit_ms = max(next_ms, min(start_ms + READABLE_MS, last_ms))
        end_ms = min(max(said_until_ms, start_ms + MIN_CUE_MS), start_ms + MAX_CUE_MS, limit_ms)
        end_ms = max(end_ms, start_ms + 1)  # words whose times collide must still make a valid file
        free_from_ms = end_ms
        shown.append(replace(cue, start_s=start_ms / 1000, end_s=end_ms / 1000))
    return shown


class _Layout:
    """Decides where to end cues and lines among the pieces of one segment.

    The cues are the cheapest sequence that keeps to the limits, found by dynamic programming over the
    piece at which a cue begins (as Knuth and Plass break paragraphs, Software: Practice and Experience 11, 1981).
    """

    def __init__(self, pieces: Sequence[_Piece], mark_width: int, next_ms: int) -> None:
        """Takes the pieces; ``next_ms`` is when whatever follows the segment begins."""
        self._pieces = pieces
        self._first_line_width = LINE_WIDTH - mark_width
        self._starts_ms = [piece.start_ms for piece in pieces] + [max(next_ms, pieces[-1].end_ms)]
        self._before = [0, *accumulate(_width(piece.text) for piece in pieces)]
        self._overhang = [_width(piece.text) - _width(piece.text.rstrip(_UNSEEN_AT_LINE_END)) for piece in pieces]
        gaps_ms = [after.start_ms - before.end_ms for before, after in pairwise(pieces)]
        self._break_costs = [_break_cost(p, gap_ms) for p, gap_ms in zip(pieces, [*gaps_ms, 0], strict=True)]
        inside = [
            SENTENCE_INSIDE_COST * (cost == SENTENCE_BREAK) + SILENCE_INSIDE_COST_PER_S * max(0.0, gap_ms / 1000 - 0.5)
            for cost, gap_ms in zip(self._break_costs, gaps_ms, strict=False)
        ]
        self._inside_before = [0.0, *accumulate(inside)]
        self._ends = [gap_ms >= LONG_PAUSE_MS for gap_ms in gaps_ms]

    def cue_bounds(self) -> list[tuple[int, int]]:
        """Returns the first piece of each cue and the one after its last."""
        count = len(self._pieces)
        best: list[tuple[float, int]] = [(0.0, 0)]
        line_ends = self._first_line_ends()
        for last in range(1, count + 1):
            end_cost = self._break_costs[last - 1] if last < count else SENTENCE_BREAK
            choice = (float("inf"), last - 1)
            for first in range(last - 1, -1, -1):
                alone = first == last - 1
                if not alone and self._ends[first]:
                    break
                if not alone and self._pieces[last - 1].end_ms - self._pieces[first].start_ms > MAX_CUE_MS:
                    break
                width = self._width(first, last)
                if width > self._first_line_width + LINE_WIDTH:
                    break
                line_end = line_ends[first]
                if line_end < last and self._width(line_end, last) > LINE_WIDTH:
                    continue
                cost = best[first][0] + end_cost + self._shape_cost(first, last, width)
                choice = min(choice, (cost, first))
            best.append(choice)
        bounds: list[tuple[int, int]] = []
        last = count
        while last:
            first = best[last][1]
            bounds.append((first, last))
            last = first
        return bounds[::-1]

    def lines(self, first: int, last: int) -> tuple[str, ...]:
        """Returns one line if the pieces fit on it, else two, broken as cues are and as even as that allows."""
        if self._width(first, last) <= self._first_line_width:
            parts = [self._text(first, last)]
        else:
            mark_width = LINE_WIDTH - self._first_line_width
            _, middle = min(
                (
                    self._break_costs[at - 1]
                    + UNBALANCED_LINES_COST * abs(upper + mark_width - lower) / LINE_WIDTH
                    + NUMBER_LINE_COST * self._text(at, last).isdecimal(),
                    at,
                )
                for at in range(first + 1, last)
                if (upper := self._width(first, at)) <= self._first_line_width
                and (lower := self._width(at, last)) <= LINE_WIDTH
            )
            parts = [self._text(first, middle), self._text(middle, last)]
        return tuple(part for part in parts if part)

    def _shape_cost(self, first: int, last: int, width: int) -> float:
        on_screen_ms = self._starts_ms[last] - self._starts_ms[first]
        shortfall = max(0.0, 1 - on_screen_ms / MIN_CUE_MS)
        inside = self._inside_before[last - 1] - self._inside_before[first]
        return CUE_COST + FULL_CUE_COST * (width / (2 * LINE_WIDTH)) ** 2 + SHORT_CUE_COST * shortfall + inside

    def _first_line_ends(self) -> list[int]:
        """Returns for each piece how far a first line that begins with it can reach."""
        ends: list[int] = []
        end = 0
        for first in range(len(self._pieces)):
            end = max(end, first + 1)
            while end < len(self._pieces) and self._width(first, end + 1) <= self._first_line_width:
                end += 1
            ends.append(end)
        return ends

    def _width(self, first: int, last: int) -> int:
        return self._before[last] - self._before[first] - self._overhang[last - 1]

    def _text(self, first: int, last: int) -> str:
        return "".join(piece.text for piece in self._pieces[first:last]).strip(_UNSEEN_AT_LINE_END)


def _pieces(segment: Segment) -> list[_Piece]:
    """Cuts the segment's text into pieces that keep its times and never run backwards; none if there is no text."""
    text = " ".join(segment.text.split())
    if not text:
        return []
    spans = _word_spans(text, segment)
    if spans:
        times_ms = [(_ms(word.start_s), _ms(word.end_s)) for word in segment.words]
        slices = _slices(text, spans)
    else:
        slices = _slices(text, _character_spans(text))
        times_ms = _spread(slices, _ms(segment.start_s), _ms(segment.end_s))
    room = LINE_WIDTH - _mark_width(_label(segment))
    pieces: list[_Piece] = []
    for part, (start_ms, end_ms) in zip(slices, _in_order(times_ms), strict=True):
        chunks = _chunks(part, room)
        for number, (chunk, times) in enumerate(zip(chunks, _spread(chunks, start_ms, end_ms), strict=True), start=1):
            pieces.append(_Piece(chunk, *times, ends_word=number == len(chunks)))
    return pieces


def _word_spans(text: str, segment: Segment) -> list[tuple[int, int]]:
    """Finds where each word of the segment stands in its text; none at all if one of them can't be found."""
    spans: list[tuple[int, int]] = []
    cursor = 0
    for word in segment.words:
        at = text.find(word.text, cursor)
        if at < 0:
            return []
        cursor = at + len(word.text)
        spans.append((at, cursor))
    return spans


def _character_spans(text: str) -> list[tuple[int, int]]:
    """Finds where words stand in text without word times: each CJK character and each run of anything else."""
    spans: list[tuple[int, int]] = []
    for run in re.finditer(r"\S+", text):
        for cjk, group in groupby(range(*run.span()), key=lambda at: is_cjk(text[at])):
            places = list(group)
            if cjk:
                spans.extend((at, at + 1) for at in places if text[at].isalnum())
            elif any(text[at].isalnum() for at in places):
                spans.append((places[0], places[-1] + 1))
    return spans or [(0, len(text))]


def _slices(text: str, spans: Sequence[tuple[int, int]]) -> list[str]:
    """Cuts the text between the spans: what stands between two belongs to the first, opening marks to the next."""
    cuts = [0]
    for (_, end), (start, _) in pairwise(spans):
        opening = _OPENING_MARKS.search(text[end:start])
        cuts.append(start if opening is None else end + opening.start())
    cuts.append(len(text))
    return [text[a:b] for a, b in pairwise(cuts)]


def _spread(texts: Sequence[str], start_ms: int, end_ms: int) -> list[tuple[int, int]]:
    """Shares a stretch of time out by the width of each text, for lack of anything better known."""
    edges = [0, *accumulate(max(_width(text), 1) for text in texts)]
    scale = (end_ms - start_ms) / edges[-1]
    times = [start_ms + round(edge * scale) for edge in edges]
    return list(pairwise(times))


def _in_order(times_ms: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Makes times never run backwards: what begins or ends too early does so with what came before."""
    ordered: list[tuple[int, int]] = []
    earliest_ms = 0
    for start_ms, end_ms in times_ms:
        earliest_ms = max(start_ms, earliest_ms)
        ordered.append((earliest_ms, max(end_ms, earliest_ms)))
    return ordered


def _chunks(text: str, room: int) -> list[str]:
    """Returns the text whole, or cut into lines if it alone is wider than one."""
    if _width(text.rstrip(_UNSEEN_AT_LINE_END)) <= room:
        return [text]
    chunks = [""]
    for char in text:
        if _width(chunks[-1]) + _width(char) > room:
            chunks.append("")
        chunks[-1] += char
    return chunks


def _break_cost(piece: _Piece, gap_ms: int) -> float:
    last = piece.text.rstrip(CLOSING)[-1:]
    if not piece.ends_word:
        return INSIDE_WORD_BREAK
    if last in SENTENCE_END:
        return SENTENCE_BREAK
    if last in CLAUSE_END:
        return CLAUSE_BREAK
    return PAUSE_BREAK if gap_ms >= PAUSE_MS else WORD_BREAK


def _width(text: str) -> int:
    return sum(
        CJK_WIDTH if is_cjk(char) or unicodedata.east_asian_width(char) in "WF" else LATIN_WIDTH for char in text
    )


def _label(segment: Segment) -> str | None:
    return segment.speaker.label if segment.speaker else None


def _mark(speaker: str | None) -> str:
    return f"[{' '.join(speaker.split())}] " if speaker else ""


def _mark_width(speaker: str | None) -> int:
    # A very long name may overflow its line rather than leave no room for what was said.
    return min(_width(_mark(speaker)), LINE_WIDTH // 2)


def _marked(cue: Cue) -> str:
    return _mark(cue.speaker) + "\n".join(cue.lines)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _ms(seconds: float) -> int:
    return int(seconds * 1000 + 0.5)


def _timestamp(seconds: float, decimal_mark: str) -> str:
    whole_s, ms = divmod(_ms(seconds), 1000)
    minutes, s = divmod(whole_s, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{s:02d}{decimal_mark}{ms:03d}"
