// Prints the theme: theme.css, its fonts, and the colours of the light theme; those of the dark one for `night`.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const read = (file, encoding = 'utf8') => readFileSync(join(here, file), encoding);

// In the page, so that it looks the same, and fits, on every machine.
const FONTS = { 'IBM Plex Sans Variable': 'ibm-plex-sans', 'M PLUS 1 Code Variable': 'm-plus-1-code' };
const fonts = Object.entries(FONTS).map(([family, name]) => {
    const data = read(`node_modules/@fontsource-variable/${name}/files/${name}-latin-wght-normal.woff2`, 'base64');
    return `@font-face { font-family: '${family}'; font-weight: 100 700; src: url(data:font/woff2;base64,${data}) format('woff2'); }`;
});
const colours = read('../common/assets/colours.css');
const [light, dark] = colours.split('@media');
const [, night] = dark.match(/:root \{([^}]*)\}/);
process.stdout.write([read('theme.css'), ...fonts, light, `section.night {${night}}`].join('\n'));
