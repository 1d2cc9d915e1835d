"""Recognises one live session: PCM in, events out.

A listener finds sentences in the audio as it comes and passes their audio on to them; sentences do their
recognition by themselves, several at a time; a teller puts their events in order. Every stage waits when the
next one is too far behind, back to ``push``: nothing is dropped and nothing piles up.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator

from service.audio.spans import Span
from service.domain import Pcm, Requester, Urgency
from service.errors import InvalidRequest, ServiceError
from service.inference import Runners
from service.live.events import Event, SentenceEnded, SessionFailed
from service.live.listener import Listener
from service.live.nearfield import NearFieldGate
from service.live.options import NearFieldFilter, SessionOptions
from service.live.sentence import Sentence
from service.live.sentence_finder import Change, Opened, Proven
from service.text.words import cut_context_warnings, ignored_hotword_warnings, untimed_warnings

__all__ = ["NearFieldFilter", "Session", "SessionOptions"]

log = logging.getLogger(__name__)

_UNTOLD_SENTENCES = 8
_UNREAD_EVENTS = 16


class Session:
    """Recognises what is pushed, and yields its events.

    Push audio and iterate for events at the same time, from two tasks; ``close`` in the end.

    It works from the moment it is made, within a running event loop. Every sample pushed is recognised, or counted
    as filtered. Iteration ends after ``finish`` once everything has been told, or with SessionFailed.
    """

    def __init__(self, runners: Runners, options: SessionOptions, near_field: NearFieldFilter, key: str = "") -> None:
        """Begins a session of ``key``'s (:class:`service.domain.Requester`).

        Raises:
            InvalidRequest: the streaming text is to be final, and the model has no streaming recogniser.
        """
        model = options.recognition.model
        if not model.hears_live and not options.finals:
            raise InvalidRequest(f"{model.id} has no streaming recogniser: only final results can be had of it.")
        self._runners = runners
        self._options = options
        self._requester = Requester(Urgency.LIVE, key)
        self._streamed = model.hears_live and (options.partials or options.ends_at_marks or not options.finals)
        self._gate = NearFieldGate(near_field)
        self._listener = Listener(runners, options, self._gate)
        self._open: Sentence | None = None
        self._passed_on_ms = 0
        self._found: asyncio.Queue[Sentence | None] = asyncio.Queue()
        self._untold = asyncio.Semaphore(_UNTOLD_SENTENCES)
        self._told = 0
        self._ignored_hotwords: dict[str, None] = {}  # in order
        self._untimed: dict[str, None] = {}  # warnings of words without times, in order
        self._working: set[Sentence] = set()
        self._settling: set[asyncio.Task[None]] = set()
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._unread = asyncio.Semaphore(_UNREAD_EVENTS)
        self._is_ending = False
        self._run = asyncio.create_task(self._listen_and_tell())
        self._run.add_done_callback(self._end_iteration)

    async def push(self, pcm: Pcm) -> None:
        """Takes the next 16 kHz mono audio in, any number of samples; waits while the session is behind.

        Does nothing once the session has failed or was closed: iteration tells.
        """
        await self._listener.push(pcm)

    async def finish(self) -> None:
        """Ends the audio: what was pushed is recognised to its end; it returns at once."""
        self._listener.finish()

    async def __aiter__(self) -> AsyncGenerator[Event, None]:
        while (event := await self._events.get()) is not None:
            self._unread.release()
            yield event
        self._events.put_nowait(None)  # whoever asks again is told the same

    async def close(self) -> None:
        """Stops all work and frees the runner's side; safe at any time, more than once. Ends the iteration."""
        if not self._is_ending:
            self._run.cancel()
        await asyncio.gather(self._run, return_exceptions=True)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Says what the client should know of the session so far beside its events."""
        near_field = (self._gate.warning,) if self._gate.warning else ()
        asked = self._options.recognition
        ignored = ignored_hotword_warnings(tuple(self._ignored_hotwords), asked.model.id)
        return (*near_field, *cut_context_warnings(asked), *ignored, *self._untimed)

    async def _listen_and_tell(self) -> None:
        stages = [asyncio.create_task(self._listen()), asyncio.create_task(self._tell())]
        failure: ServiceError | None = None
        try:
            await asyncio.gather(*stages)
        except ServiceError as error:
            failure = error
        except Exception:  # whatever it was, nobody must wait for an end that does not come
            log.exception("a live session failed")
            failure = ServiceError("The session failed inside the service.")
        finally:
            self._is_ending = True
            self._listener.stop()
            for stage in stages:
                stage.cancel()
            await asyncio.gather(*stages, return_exceptions=True)
            await asyncio.gather(*(sentence.close() for sentence in self._working), *self._settling)
            self._sum_up()
        if failure is not None:
            self._events.put_nowait(SessionFailed(failure))

    def _end_iteration(self, run: asyncio.Task[None]) -> None:
        self._listener.stop()
        if run.cancelled():
            while not self._events.empty():
                self._events.get_nowait()
        self._events.put_nowait(None)

    async def _listen(self) -> None:
        async for heard in self._listener.listen():
            for change in heard.changes:
                await self._follow(change)
            if self._open is not None and self._options.ends_at_marks and (sure := self._open.sure_end):
                for change in self._listener.cut(sure):
                    await self._follow(change)
            await self._pass_on(heard.end_ms)
        self._found.put_nowait(None)

    async def _follow(self, change: Change) -> None:
        if isinstance(change, Opened):
            await self._untold.acquire()
            self._open = Sentence(
                self._runners, self._options, self._requester, change.start_ms, streamed=self._streamed
            )
            self._passed_on_ms = change.start_ms
            self._working.add(self._open)
            self._found.put_nowait(self._open)
            return
        assert self._open is not None
        if isinstance(change, Proven):
            self._open.begin(change.begin_ms)
        else:
            await self._pass_on(change.audio.end_ms)
            self._open.end(change, self._listener.read(change.audio))
            self._open = None

    async def _pass_on(self, end_ms: int) -> None:
        """Gives the open sentence its audio up to ``end_ms``."""
        if self._open is not None and end_ms > self._passed_on_ms:
            pcm = self._listener.read(Span(self._passed_on_ms, end_ms))
            self._passed_on_ms = end_ms
            await self._open.hear(pcm)

    async def _tell(self) -> None:
        while (sentence := await self._found.get()) is not None:
            async for event in sentence.events(self._told + 1):
                await self._unread.acquire()
                self._events.put_nowait(event)
                if isinstance(event, SentenceEnded):
                    self._told += 1
                    self._note_untimed(event)
            self._ignored_hotwords |= sentence.ignored_hotwords
            self._untold.release()
            self._settling.add(task := asyncio.create_task(self._settle(sentence)))
            task.add_done_callback(self._settling.discard)

    def _note_untimed(self, ended: SentenceEnded) -> None:
        asked = self._options.recognition
        if asked.word_timestamps and not all(word.timed for word in ended.words):
            self._untimed |= dict.fromkeys(untimed_warnings(asked.language or ended.language, asked.model))

    async def _settle(self, sentence: Sentence) -> None:
        """Lets a sentence that was told end what it still does."""
        await sentence.settled()
        self._working.discard(sentence)

    def _sum_up(self) -> None:
        log.info(
            "live session of %.1f s: %d sentences, %d frames of 10 ms filtered as distant, %s",
            self._listener.heard_s,
            self._told,
            self._gate.filtered_frames,
            self._options.recognition.model.id,
        )
        if self._gate.warning:
            log.warning("%s", self._gate.warning)
        if self._ignored_hotwords:  # which they are is for the client and for DEBUG
            log.warning("%d hotwords had no effect", len(self._ignored_hotwords))
            log.debug("hotwords without effect: %s", ", ".join(self._ignored_hotwords))
