"""Tests the pages of `client report`: legible in both themes, whole on a phone and on paper."""

import base64
import re
import subprocess
import tempfile

from browser import ROOT, THEMES, fail, illegible

# Results, and how many pages of A4 they may take.
RESULTS = [("results/2026-11-25-ladder/results.json", 4), ("results/2026-11-25-million/million.json", 4)]
SCREENS = [(1280, 800), (390, 844)]
# A4 without its margins, in pixels.
PAPER_WIDTH = 710

# What is beyond the right edge, and numbers that are broken into two lines.
CUT_OFF = """
    const root = document.documentElement;
    const cut = root.scrollWidth > innerWidth ? ['wider than the screen'] : [];
    const scrolls = (e) => (e ? e.matches('.scroll, pre') || scrolls(e.parentElement) : false);
    const texts = document.createTreeWalker(document.querySelector('main'), NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
        const node = texts.currentNode;
        if (!node.parentElement.getClientRects().length) continue;
        for (const { 0: number, index } of node.textContent.matchAll(/[\\d.,]*\\d/g)) {
            const range = document.createRange();
            range.setStart(node, index);
            range.setEnd(node, index + number.length);
            const lines = new Set([...range.getClientRects()].map((rect) => Math.round(rect.top)));
            if (lines.size > 1) cut.push(`${number} is broken`);
            const right = Math.max(...[...range.getClientRects()].map((rect) => rect.right));
            if (right > innerWidth + 1 && !scrolls(node.parentElement)) cut.push(`${number} is beyond the edge`);
        }
    }
    return cut;"""

# Whether the first column stays while a table is scrolled to its end.
STAYS = """
    return [...document.querySelectorAll('.scroll')].every((box) => {
        box.scrollLeft = box.scrollWidth;
        const [first, edge] = [box.querySelector('tbody th').getBoundingClientRect(), box.getBoundingClientRect()];
        return Math.abs(first.left - edge.left) < 1;
    });"""
# Tables that are wider than the paper.
WIDE = "return [...document.querySelectorAll('.scroll')].filter((box) => box.scrollWidth > box.clientWidth + 1).length"


def check(page, client, folder):
    page.driver.get("about:blank")
    # Of the live page, whose server has ended.
    page.driver.get_log("browser")
    for results, most in RESULTS:
        name = results.split("/")[-1]
        with tempfile.TemporaryDirectory() as out:
            command = [client, "report", ROOT / results, "--out", out]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            page.driver.get(f"file://{out}/index.html")
            screens(page, name, folder)
            paper(page, name, most, folder)
        if messages := page.driver.get_log("browser"):
            fail(f"{name}: in the browser's console: {messages}")
    print(f"reports: legible in both themes, whole at {' and '.join(str(width) for width, _ in SCREENS)} and on A4")


def screens(page, name, folder):
    for theme in THEMES:
        for width, height in SCREENS:
            page.emulate(theme, width, height)
            if folder:
                page.driver.save_screenshot(f"{folder}/{name}-{theme}-{width}.png")
            if texts := illegible(page):
                fail(f"{name}, {theme}: too little contrast: {texts}")
            if cut := page.driver.execute_script(CUT_OFF):
                fail(f"{name}, {theme}, {width} wide: {cut}")
            if width < 600 and not page.driver.execute_script(STAYS):
                fail(f"{name}, {width} wide: a table's first column does not stay")
        drawn = page.driver.execute_script("return [...document.querySelectorAll('.plot')].filter((e) => e.clientWidth)"
                                           ".every((e) => e.classList.contains('narrow'))")
        if not drawn:
            fail(f"{name}: a plot has no narrow layout")


def paper(page, name, most, folder):
    cdp = page.driver.execute_cdp_cmd
    # Dark, as on the screen of who prints it.
    page.emulate("dark", PAPER_WIDTH, 1000)
    cdp("Emulation.setEmulatedMedia", {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    if page.driver.execute_script(WIDE) or page.driver.execute_script(CUT_OFF):
        fail(f"{name}, printed: cut off at the right edge")
    if page.driver.execute_script("return getComputedStyle(document.body).backgroundColor") != "rgb(255, 255, 255)":
        fail(f"{name}, printed: it is dark")
    if texts := illegible(page):
        fail(f"{name}, printed: too little contrast: {texts}")
    cdp("Emulation.setEmulatedMedia", {"media": ""})
    pdf = base64.b64decode(cdp("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    if folder:
        with open(f"{folder}/{name}.pdf", "wb") as file:
            file.write(pdf)
    if (pages := len(re.findall(rb"/Type\s*/Page\b", pdf))) > most:
        fail(f"{name}: printed on {pages} pages, expected: at most {most}")
