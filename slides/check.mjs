// Opens out/talk.html in a browser without a network, and checks every slide: it can be read from the last row, nothing
// overflows, nothing is missing, and nothing is loaded from elsewhere.
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import puppeteer from 'puppeteer-core';

const page_url = pathToFileURL(join(dirname(fileURLToPath(import.meta.url)), 'out/talk.html')).href;
const LIMITS = { fontPx: 24, codeLines: 8, commandLines: 4, lowest: 600 };

// Runs in the page, and returns each slide's faults. Sizes are in the slide's own pixels, whatever the window's size.
function faults({ fontPx, codeLines, commandLines, lowest }) {
    const found = [];
    const boxes = new Map();
    const sections = [...document.querySelectorAll('section')];
    sections.forEach((section, at) => {
        const slide = `slide ${at + 1} (${section.querySelector('h1, h2')?.textContent ?? 'no title'})`;
        const say = (fault) => found.push(`${slide}: ${fault}`);
        const outer = section.getBoundingClientRect();
        const scale = outer.width / section.offsetWidth;
        const style = getComputedStyle(section);
        const box = (element) => {
            const { left, top, right, bottom } = element.getBoundingClientRect();
            return { left: (left - outer.left) / scale, top: (top - outer.top) / scale, right: (right - outer.left) / scale, bottom: (bottom - outer.top) / scale };
        };
        const excerpt = (element) => `"${element.textContent.trim().slice(0, 40)}"`;

        // Sizes of text as they are drawn: a picture that is scaled down scales its text.
        const tooSmall = (px, what) => { if (px < fontPx - 0.05) say(`${what} is ${px.toFixed(1)} px high, not ${fontPx}`); };
        const texts = document.createTreeWalker(section, NodeFilter.SHOW_TEXT);
        const seen = new Set();
        while (texts.nextNode()) {
            const { parentElement } = texts.currentNode;
            if (!texts.currentNode.textContent.trim() || seen.has(parentElement)) continue;
            seen.add(parentElement);
            const drawn = parentElement.ownerSVGElement && parentElement.getScreenCTM ? parentElement.getScreenCTM().a / scale : 1;
            tooSmall(parseFloat(getComputedStyle(parentElement).fontSize) * drawn, excerpt(parentElement));
        }
        for (const element of [section, ...section.querySelectorAll('h2')]) {
            for (const pseudo of ['::before', '::after']) {
                const { content, fontSize } = getComputedStyle(element, pseudo);
                if (content !== 'none' && content !== '""') tooSmall(parseFloat(fontSize), `${pseudo} ${content}`);
            }
        }

        // Lines of code and commands.
        const lines = section.querySelectorAll('pre .line').length;
        if (lines > codeLines) say(`${lines} lines of code, not ${codeLines}`);
        const commands = [...section.querySelectorAll('pre:not(.excerpt)')].flatMap((pre) => pre.textContent.trim().split('\n')).length;
        if (commands > commandLines) say(`${commands} lines of commands, not ${commandLines}`);

        // Nothing is cut off, and the lowest sixth is used.
        const [bottom, right] = [section.offsetHeight - parseFloat(style.paddingBottom), section.offsetWidth - parseFloat(style.paddingRight)];
        if (section.scrollHeight > section.clientHeight + 1) say(`${section.scrollHeight - section.clientHeight} px too high`);
        const parts = [...section.querySelectorAll(':scope > *')];
        for (const part of parts) {
            const { bottom: end, right: edge } = box(part);
            if (end > bottom + 1) say(`${excerpt(part)} ends ${Math.round(end - bottom)} px below the margin`);
            if (edge > right + 1) say(`${excerpt(part)} is too wide`);
        }
        for (const code of section.querySelectorAll('pre:not(.excerpt) code, pre .line, pre .file')) {
            if (code.scrollWidth > code.clientWidth + 1) say(`${excerpt(code)} is cut off`);
        }
        for (const text of section.querySelectorAll('svg text')) {
            const [drawn, picture] = [box(text), box(text.ownerSVGElement)];
            if (drawn.left < picture.left - 2 || drawn.right > picture.right + 2 || drawn.top < picture.top - 8 || drawn.bottom > picture.bottom + 8) say(`${excerpt(text)} is outside its picture`);
        }
        const end = Math.max(...parts.map((part) => box(part).bottom));
        if (end < lowest) say(`the lowest sixth is empty: it ends at ${Math.round(end)} px`);
        const plot = section.querySelector('.plot.stage');
        if (plot) boxes.set(slide, JSON.stringify(Object.values(box(plot)).map(Math.round)));
    });
    if (new Set(boxes.values()).size > 1) found.push(`the plots of the stages differ in place or size: ${[...boxes].join('; ')}`);
    return { slides: sections.length, found };
}

const browser = await puppeteer.launch({
    executablePath: process.env.CHROME_PATH ?? '/usr/bin/chromium',
    args: ['--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
        ...(process.getuid() === 0 ? ['--no-sandbox'] : [])],
});
try {
    const page = await browser.newPage();
    await page.setOfflineMode(true);
    const [asked, failed] = [[], []];
    page.on('request', (request) => asked.push(request.url()));
    page.on('pageerror', (error) => failed.push(`the page's script: ${error.message}`));
    await page.setViewport({ width: 1280, height: 720 });
    await page.goto(page_url, { waitUntil: 'load' });
    // Lay out all slides, not only the visible one.
    await page.addStyleTag({ content: 'svg[data-marpit-svg] { display: block !important; }' });
    await page.evaluate(() => Promise.allSettled([...document.fonts].map((font) => font.load())));
    const { slides, found } = await page.evaluate(faults, LIMITS);
    found.push(...failed, ...asked.filter((url) => url !== page_url && !url.startsWith('data:')).map((url) => `loads ${url}`));
    if (found.length) {
        console.error(found.map((fault) => `slides: ${fault}`).join('\n'));
        process.exitCode = 1;
    } else {
        console.log(`${slides} slides: no text below ${LIMITS.fontPx} px, nothing overflows, nothing is loaded from elsewhere`);
    }
} finally {
    await browser.close();
}
