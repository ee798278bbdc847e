// Prints talk.md with its figures, excerpts and pictures filled in. A missing source fails the build.
//
//   {{million.4.memory.server_connected_bytes}}   a figure from results/ (figures.mjs), formatted by its unit
//   {{times PATH PATH}}                           the ratio of the first figure to the second
//   {{text FILE /PATTERN/}}                       the pattern's first group in a file of results/
//   {{code FILE fn NAME}}                         an item of the sources; `| FIRST .. LAST`: from the first line that
//                                                 contains FIRST to the next one, no deeper, that starts with LAST
//   {{svg FILE}}  {{plot readiness}}  {{plot kernel}}  {{plot stage N}}   a picture
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { figure, figures, read, show } from './figures.mjs';
import { kernelPlot, readinessPlot, stagePlot } from './plots.mjs';

const here = dirname(fileURLToPath(import.meta.url));

function times(one, other) {
    const ratio = figure(one) / figure(other);
    return ratio >= 20 ? String(Math.round(ratio)) : ratio.toPrecision(2);
}

function text(file, pattern) {
    const match = read(file).match(new RegExp(pattern, 'm'));
    if (!match) throw new Error(`/${pattern}/ matches nothing in ${file}`);
    return match[1];
}

function item(file, kind, name) {
    const lines = read(file).split('\n');
    const head = new RegExp(`^\\s*(pub(\\(.*?\\))? )?((async|const|unsafe) )*${kind} ${name}\\b`);
    const starts = lines.flatMap((line, at) => (head.test(line) ? [at] : []));
    if (starts.length !== 1) throw new Error(`${file} has ${starts.length} of ${kind} ${name}, not one`);
    const [start] = starts;
    if (lines[start].endsWith(';')) return [lines[start]];
    const indent = lines[start].match(/^\s*/)[0];
    const end = lines.findIndex((line, at) => at >= start && line.startsWith(indent) && /^[})\]][;,]?$/.test(line.slice(indent.length)));
    if (end < 0) throw new Error(`${file}: where does ${kind} ${name} end?`);
    return lines.slice(start, end + 1);
}

function code(file, kind, name, range) {
    let lines = item(file, kind, name);
    if (range) {
        const [first, last] = range.split(' .. ');
        const start = lines.findIndex((line) => line.includes(first));
        const depth = lines[start]?.search(/\S/);
        const end = last === undefined ? start : lines.findIndex((line, at) => at > start && line.trim().startsWith(last) && line.search(/\S/) <= depth);
        if (start < 0 || end < 0) throw new Error(`${file}, ${kind} ${name}: no lines from "${first}" to "${last ?? first}"`);
        lines = lines.slice(start, end + 1);
    }
    const indent = Math.min(...lines.filter((line) => line.trim()).map((line) => line.match(/^ */)[0].length));
    return `<div class="file">${file}</div>\n\n\`\`\`rust\n${lines.map((line) => line.slice(indent)).join('\n')}\n\`\`\``;
}

// An <img> does not inherit custom properties: var(--NAME) is replaced by the colour that the light theme has for it.
const [light] = read('common/assets/colours.css').split('@media');
const coloured = (svg) => svg.replace(/var\(--([\w-]+)\)/g, (_, name) => {
    const [, colour] = light.match(new RegExp(`--${name}: (.*?);`)) ?? [];
    if (!colour) throw new Error(`no colour ${name} in common/assets/colours.css`);
    return colour;
});

function picture(source) {
    const svg = coloured(source);
    const [, title] = svg.match(/<title>(.*?)<\/title>/) ?? svg.match(/<title [^>]*>(.*?)<\/title>/) ?? [];
    if (!title) throw new Error(`a picture without a title: ${svg.slice(0, 80)}`);
    return `<img class="picture" alt="${title}" src="data:image/svg+xml;base64,${Buffer.from(svg).toString('base64')}">`;
}

function plot([name, stage]) {
    switch (name) {
        case 'readiness': return readinessPlot(figures.readiness);
        case 'kernel': return kernelPlot(figures.questions.slab, show);
        case 'stage': return stagePlot(figures.million, Number(stage), show);
        default: throw new Error(`no plot ${name}`);
    }
}

function resolve(directive) {
    const [word, ...rest] = directive.split(' ');
    switch (word) {
        case 'times': return times(...rest);
        case 'text': {
            const [, file, pattern] = directive.match(/^text (\S+) \/(.*)\/$/);
            return text(file, pattern);
        }
        case 'code': {
            const [, file, kind, name, range] = directive.match(/^code (\S+) (\w+) (\w+)(?: \| (.*))?$/);
            return code(file, kind, name, range);
        }
        case 'svg': {
            const file = rest[0].startsWith('results/') ? join(here, '..', rest[0]) : join(here, rest[0]);
            return picture(fill(readFileSync(file, 'utf8')));
        }
        case 'plot': return picture(plot(rest));
        default: return show(directive, figure(directive));
    }
}

// A directive alone on its line may contain braces; within a line it ends at the first two.
const fill = (source) => source
    .replace(/^\{\{(.+)\}\}$/gm, (_, directive) => resolve(directive))
    .replace(/\{\{(.+?)\}\}/g, (_, directive) => resolve(directive));

// A slide with figures needs the command that measures them, and every slide needs notes.
function complain(slide, number) {
    const title = slide.match(/^#+ (.*)$/m)?.[1] ?? 'no title';
    const measured = /\{\{(?!code |svg img)/.test(slide);
    if (measured && !/^```sh$/m.test(slide)) throw new Error(`slide ${number} (${title}) has figures and no command`);
    if (!/^<!--\n/m.test(slide)) throw new Error(`slide ${number} (${title}) has no notes`);
}

try {
    const source = readFileSync(join(here, 'talk.md'), 'utf8');
    source.replace(/^---\n[^]*?\n---\n/, '').split(/^---$/m).forEach((slide, at) => complain(slide, at + 1));
    process.stdout.write(fill(source));
} catch (error) {
    console.error(`slides: ${error.message}`);
    process.exitCode = 1;
}
