// Opens out/talk.html in a browser without a network, and checks every slide: nothing overflows, nothing is missing, and
// nothing is loaded from elsewhere.
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import puppeteer from 'puppeteer-core';

const page_url = pathToFileURL(join(dirname(fileURLToPath(import.meta.url)), 'out/talk.html')).href;
const MIN_SLIDES = 30;
const MAX_SLIDES = 38;

// Runs in the page, and returns each slide's faults. Layout is in the slide's own pixels, whatever the window's size.
function faults() {
    const found = [];
    const sections = [...document.querySelectorAll('section')];
    sections.forEach((section, at) => {
        const slide = `slide ${at + 1} (${section.querySelector('h1, h2')?.textContent ?? 'no title'})`;
        const style = getComputedStyle(section);
        const [bottom, right] = [section.clientHeight - parseFloat(style.paddingBottom), section.clientWidth - parseFloat(style.paddingRight)];
        if (section.scrollHeight > section.clientHeight + 1) found.push(`${slide}: ${section.scrollHeight - section.clientHeight} px too high`);
        for (const part of section.querySelectorAll(':scope > *')) {
            const name = `<${part.tagName.toLowerCase()}> ${part.textContent.trim().slice(0, 40)}`;
            if (part.offsetTop + part.offsetHeight > bottom + 1) found.push(`${slide}: ${name} ends ${Math.round(part.offsetTop + part.offsetHeight - bottom)} px below the margin`);
            if (part.offsetLeft + part.offsetWidth > right + 1) found.push(`${slide}: ${name} is too wide`);
            const source = part.matches('pre') && part.querySelector('code');
            if (source && source.scrollWidth > source.clientWidth) found.push(`${slide}: a line of ${name} is cut off`);
        }
        for (const image of section.querySelectorAll('img')) {
            if (!image.complete || image.naturalWidth === 0) found.push(`${slide}: a picture does not load`);
            else if (image.offsetHeight < 200) found.push(`${slide}: a picture of ${image.offsetHeight} px is too small to be read`);
        }
    });
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
    const { slides, found } = await page.evaluate(faults);
    found.push(...failed, ...asked.filter((url) => url !== page_url && !url.startsWith('data:')).map((url) => `loads ${url}`));
    if (slides < MIN_SLIDES || slides > MAX_SLIDES) found.push(`${slides} slides do not make 30 minutes`);
    if (found.length) {
        console.error(found.map((fault) => `slides: ${fault}`).join('\n'));
        process.exitCode = 1;
    } else {
        console.log(`${slides} slides: nothing overflows, nothing is loaded from elsewhere`);
    }
} finally {
    await browser.close();
}
