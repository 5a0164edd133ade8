"""Draw the README's picture, the head of a comparison's page in light and dark: python -m tests.views.picture.

It needs Chromium and ChromeDriver, as the browser tests do.
"""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

import costmodel
from tests.views.test_browser import Browser

MODELS = ("alexnet", "vgg16", "resnet50", "mobilenet_v1", "mobilenet_v2")
WIDTH, HEIGHT = 1280, 1190
COLORS = 192
"""Enough for a page of flat colours, in a third of the bytes."""
REPORTS = Path(__file__).parents[2] / "reports"


def main() -> None:
    """Write reports/picture-light.png and reports/picture-dark.png."""
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        page = costmodel.compare(MODELS, baseline="vgg16").save(Path(folder, "comparison.html"))
        browser = Browser(Path(folder, "chromium"))
        for scheme in ("light", "dark"):
            browser.open(page, WIDTH, scheme)
            clip = {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT, "scale": 1}
            shot = browser.driver.execute_cdp_cmd(
                "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
            )
            image = Image.open(BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
            image.quantize(COLORS, dither=Image.Dither.NONE).save(REPORTS / f"picture-{scheme}.png", optimize=True)
        browser.driver.quit()


if __name__ == "__main__":
    main()
