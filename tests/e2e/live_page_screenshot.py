"""Makes docs/live-page.png: `python -m tests.e2e.live_page_screenshot`, with Chromium and a CJK font installed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from runners.catalog import PROJECT_ROOT
from tests.e2e.live_page import browser_hearing, open_live_page
from tests.e2e.server import served
from tests.speech import RECORDINGS

PICTURE = PROJECT_ROOT / "docs" / "live-page.png"


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        served(Path(folder) / "log") as server,
        browser_hearing(RECORDINGS["dialogue"], Path(folder) / "browser") as page,
    ):
        page.resize(1280, 760)
        open_live_page(page, server.url)
        page.click("#start")
        # some sentences are final, and one is being spoken
        page.until(
            "document.querySelectorAll('#finals li').length >= 3 && document.querySelector('#meter').ariaValueNow > -25"
            "&& (document.querySelector('#partials .text')?.textContent ?? '').length >= 6"
        )
        PICTURE.parent.mkdir(exist_ok=True)
        page.screenshot(PICTURE)
    print(f"{PICTURE}: {PICTURE.stat().st_size // 1024} KB")


if __name__ == "__main__":
    main()
