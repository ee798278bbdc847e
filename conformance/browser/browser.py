"""A real browser, and what it tells of a page. Needs Debian's chromium, chromium-driver and python3-selenium."""

import pathlib
import shutil
import sys
import tempfile
import time

try:
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service
except ImportError:
    sys.exit("check: selenium is missing; apt-get install chromium chromium-driver python3-selenium")

ROOT = pathlib.Path(__file__).resolve().parents[2]
THEMES = ["light", "dark"]
UNITS = {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}
# Of text and its background (WCAG 2.2, 1.4.3).
CONTRAST = 4.5
FLAGS = """--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
           --disable-component-update --disable-sync --disable-dev-shm-usage""".split()


def fail(message):
    sys.exit(f"check: {message}")


def until(expected, condition, timeout_s=15):
    """Calls `condition` until it returns a true value, and returns that."""
    end = time.monotonic() + timeout_s
    while not (found := condition()):
        if time.monotonic() > end:
            fail(f"expected within {timeout_s} s: {expected}")
        time.sleep(0.05)
    return found


class Page:
    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="live-page-")
        options = webdriver.ChromeOptions()
        for flag in [*FLAGS, f"--user-data-dir={self.profile}"]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service(shutil.which("chromedriver")), options=options)

    def close(self):
        self.driver.quit()
        shutil.rmtree(self.profile, ignore_errors=True)

    def text(self, name):
        return self.driver.execute_script("return document.getElementById(arguments[0]).textContent", name)

    def figure(self, name):
        """The number shown, or None."""
        shown = self.text(name).replace(",", "")
        unit = self.text(f"{name}-unit") if name in ("user", "kernel") else "B"
        return None if shown == "–" else float(shown) * UNITS[unit]

    def emulate(self, theme, width, height):
        cdp = self.driver.execute_cdp_cmd
        cdp("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]})
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        cdp("Emulation.setDeviceMetricsOverride", screen)


# All visible text whose contrast with its background is less than the argument: the text, and the contrast.
ILLEGIBLE = """
    const channels = (colour) => { const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number); return { rgb: [r, g, b], a }; };
    const over = (top, under) => top.rgb.map((value, i) => value * top.a + under[i] * (1 - top.a));
    const linear = (value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
    const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
    const parents = (e) => (e ? [...parents(e.parentElement), e] : []);
    const found = [];
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const [text, element] = [texts.currentNode.textContent.trim(), texts.currentNode.parentElement];
        const style = getComputedStyle(element);
        if (!text || !element.getClientRects().length || style.visibility === 'hidden' || element.closest('desc, title')) continue;
        const line = parents(element);
        const under = line.reduce((below, e) => over(channels(getComputedStyle(e).backgroundColor), below), [255, 255, 255]);
        const ink = channels(element instanceof SVGElement ? style.fill : style.color);
        ink.a *= line.reduce((part, e) => part * Number(getComputedStyle(e).opacity), 1);
        const [one, other] = [luminance(over(ink, under)), luminance(under)];
        const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        if (contrast < arguments[0]) found.push(`${text}: ${contrast.toFixed(2)}`);
    }
    return found;"""


def illegible(page):
    return page.driver.execute_script(ILLEGIBLE, CONTRAST)
