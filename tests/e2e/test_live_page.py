"""The live test page in a real Chromium, its microphone fed from a recording, against the real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.browser import CHROMIUM, Page
from tests.e2e.conftest import KEY
from tests.e2e.live_page import browser_hearing, finals, open_live_page
from tests.e2e.server import Served
from tests.speech import RECORDINGS

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

MEETING = RECORDINGS["meeting"]
MEETING_TEXT = "会议改到下周五下午2点。"
_REFUSALS = ("the server responded with a status of 401", "HTTP Authentication failed")  # errors, to Chromium


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser_hearing(MEETING, tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def page(chromium: Page) -> Iterator[Page]:
    chromium.complaints.clear()
    chromium.resize(1280, 800)
    yield chromium
    assert [complaint for complaint in chromium.complaints if not any(map(complaint.__contains__, _REFUSALS))] == []


def wait_for_the_end(page: Page) -> None:
    page.until("['done', 'failed'].includes(document.body.dataset.state)")
    assert page.text("#alert") == ""


def stop_and_wait(page: Page) -> None:
    page.click("#start")
    wait_for_the_end(page)


def test_what_the_microphone_hears_appears_grey_and_then_final(page: Page, server: Served) -> None:
    open_live_page(page, server.url, key=KEY)
    page.click("#start")
    page.until("document.querySelector('#partials .text')?.textContent.startsWith('会议')")
    page.until("document.querySelector('#finals .text')")
    assert finals(page) == [MEETING_TEXT]
    assert page.evaluate("document.querySelector('#partials .text')") is None
    assert page.evaluate("document.querySelector('#meter').getAttribute('aria-valuetext')").endswith("dBFS")
    stop_and_wait(page)
    assert finals(page) == [MEETING_TEXT]
    assert "ms" in page.text("#partial-latency")
    assert "ms" in page.text("#final-latency")
    assert page.text("#finals time").startswith("00:00.")


def test_a_stop_in_the_middle_of_a_sentence_loses_nothing_that_was_heard(page: Page, server: Served) -> None:
    open_live_page(page, server.url, key=KEY)
    page.click("#start")
    page.until("(document.querySelector('#partials .text')?.textContent ?? '').length >= 4")
    stop_and_wait(page)
    [text] = finals(page)
    assert text.startswith("会议改到")


@pytest.mark.parametrize("protocol", ["aliyun", "funasr", "openai", "qwen"])
def test_a_file_becomes_text_in_every_protocol(protocol: str, page: Page, server: Served) -> None:
    open_live_page(page, server.url, key=KEY)
    page.fill("#protocol", protocol)
    page.click("input[value=file]")
    page.choose_file("#file", MEETING.path)
    page.fill("#pace", "4")
    page.click("#start")
    wait_for_the_end(page)
    # Qwen3-ASR writes numbers as it finds right.
    assert finals(page) == [MEETING.text if protocol == "qwen" else MEETING_TEXT]
    assert page.text("#audio-sent") == "00:03.8"


def test_a_missing_key_and_a_wrong_one_are_told_in_words(page: Page, server: Served) -> None:
    open_live_page(page, server.url)
    assert "asks for a key" in page.text("#token-note")
    page.click("#start")
    page.until("!document.querySelector('#alert').hidden")
    assert "asks for an API key" in page.text("#alert")
    page.fill("#token", "not the key")
    page.click("#start")
    page.until("document.querySelector('#alert').textContent.includes('refused')")
    assert page.evaluate("document.activeElement.id") == "token"


def test_what_the_server_refuses_is_shown_in_its_words(page: Page, server: Served) -> None:
    open_live_page(page, server.url, key=KEY)
    page.evaluate("document.querySelector('#model').append(new Option('no-such-model'))")
    page.fill("#model", "no-such-model")
    page.click("#start")
    page.until("!document.querySelector('#alert').hidden")
    assert "no-such-model" in page.text("#alert")


def test_a_page_without_a_microphone_says_so(page: Page, server: Served) -> None:
    open_live_page(page, server.url, key=KEY)
    page.evaluate(
        "Object.defineProperty(navigator.mediaDevices, 'getUserMedia', {value: async () => {"
        " throw new DOMException('not now', 'NotAllowedError') }})"
    )
    page.click("#start")
    page.until("!document.querySelector('#alert').hidden")
    assert "microphone is not allowed" in page.text("#alert")


@pytest.mark.parametrize(("language", "title"), [("en-US", "Live speech recognition"), ("zh-CN", "实时语音识别")])
def test_the_page_speaks_the_visitors_language_and_fits_a_phone(
    language: str, title: str, page: Page, server: Served
) -> None:
    page.prefer(language=language)
    page.resize(360, 740)
    open_live_page(page, server.url)
    assert page.text("h1") == title
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.prefer()
