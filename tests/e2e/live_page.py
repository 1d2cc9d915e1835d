"""The live test page for a test: Chromium with a recording as its microphone, and what one does on the page."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile
import soxr

from tests.e2e.browser import Page, browser
from tests.speech import Recording, silence

# Longer than any silence that ends a sentence.
_AFTER_S = 1.5
_MICROPHONE_HZ = 48_000


@contextmanager
def browser_hearing(recording: Recording, folder: Path) -> Iterator[Page]:
    """Whatever page is opened hears ``recording`` once, then silence, each time it opens the microphone."""
    folder.mkdir(parents=True, exist_ok=True)
    sound = folder / "microphone.wav"
    spoken = soxr.resample(np.concatenate([recording.pcm, silence(_AFTER_S)]), 16_000, _MICROPHONE_HZ)
    soundfile.write(sound, spoken, _MICROPHONE_HZ, "PCM_16")
    with browser(
        folder / "profile",
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-audio-capture={sound}%noloop",
    ) as page:
        page.prefer()
        yield page


def open_live_page(page: Page, url: str, *, key: str = "") -> None:
    """The page as somebody finds it who comes for the first time, and its key typed in."""
    page.open(f"{url}/ws/v1/asr/test")
    page.evaluate("sessionStorage.clear(), localStorage.clear()")
    page.open(f"{url}/ws/v1/asr/test")
    page.until("document.querySelector('#token-note').textContent")
    if key:
        page.fill("#token", key)
        page.until("document.querySelector('#model').options.length > 1")


def finals(page: Page) -> list[str]:
    return list(page.evaluate("[...document.querySelectorAll('#finals .text')].map(text => text.textContent)"))
