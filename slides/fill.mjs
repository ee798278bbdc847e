// Prints talk.md with its figures, excerpts and pictures filled in. A missing source fails the build.
//
//   {{million.4.connected_bytes}}          a figure from results/ (figures.mjs), formatted by its unit
//   {{times PATH PATH}}                    the ratio of the first figure to the second
//   {{needs PATH}}                         drops its slide if the figure was not measured
//   {{code FILE fn NAME}}                  an item of the sources; `| FIRST .. LAST | …` for parts of it, `| mark TEXT` to
//                                          mark lines (excerpts.mjs)
//   {{diff FILE FILE | FIRST .. LAST}}     parts of their difference
//   {{svg FILE}}  {{plot NAME}}            a picture
//   {{repository}}                         the repository's address and its QR code, or nothing
//   {{questions}}                          the questions of docs/questions.md, with the numbers of the slides that answer them
//   {{answer QUESTION}}                    the answer there, for the notes
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import qrcode from 'qrcode-generator';
import { code, diff } from './excerpts.mjs';
import { figure, figures, has, read, root, show, significant } from './figures.mjs';
import { answer, unanswered, withClock } from './notes.mjs';
import { eachPlot, kernelPlot, readinessPlot, stagePlot, titlePlot } from './plots.mjs';
import { flamePlot } from './flame.mjs';

const here = dirname(fileURLToPath(import.meta.url));

// In the page itself, so that it has the page's fonts and colours. An empty line would end it.
function picture(svg, name) {
    const [element, title] = svg.match(/<title>(.*?)<\/title>\s*/) ?? [];
    if (!title) throw new Error(`a picture without a title: ${svg.slice(0, 80)}`);
    return `<div class="picture ${name}" role="img" aria-label="${title}">${svg.replace(element, '').replace(/\n+/g, ' ').trim()}</div>`;
}

const plots = {
    title: () => titlePlot(figures.million, show),
    each: () => eachPlot(figures.million, show),
    readiness: () => readinessPlot(figures.readiness),
    stage: (stage) => stagePlot(figures.million, Number(stage), show),
    kernel: () => kernelPlot(figures.questions.slab),
    flame: (stage) => flamePlot(figures.profile[stage]),
};

// Where to find the repository: `package.repository` of Cargo.toml, or where git fetches it from.
function repository() {
    const [, named] = read('Cargo.toml').match(/^repository\s*=\s*"(.*)"/m) ?? [];
    if (named) return named;
    try {
        const remote = execFileSync('git', ['remote', 'get-url', 'origin'], { cwd: root, encoding: 'utf8', stdio: 'pipe' }).trim();
        return remote.replace(/^(?:ssh:\/\/)?git@([^:/]+)[:/]/, 'https://$1/').replace(/\.git$/, '').match(/^https:\/\/.*/)?.[0];
    } catch {
        return undefined;
    }
}

function repositoryBlock() {
    const url = repository();
    if (!url) return '';
    const qr = qrcode(0, 'M');
    qr.addData(url);
    qr.make();
    const size = qr.getModuleCount();
    const dark = Array.from({ length: size * size }, (_, at) => [at % size, Math.floor(at / size)]).filter(([x, y]) => qr.isDark(y, x));
    const svg = `<svg viewBox="-4 -4 ${size + 8} ${size + 8}" shape-rendering="crispEdges"><path d="${dark.map(([x, y]) => `M${x} ${y}h1v1h-1z`).join('')}"/></svg>`;
    return `<div class="repository"><div class="qr" role="img" aria-label="QR code of ${url}">${svg}</div><div class="url">${url.replace(/^https:\/\//, '')}</div></div>`;
}

// Questions, and the slides that answer them.
let asked = [];

function resolve(directive) {
    const [word, ...rest] = directive.split(' ');
    const [head, ...options] = directive.split(' | ');
    switch (word) {
        case 'times': return significant(figure(rest[0]) / figure(rest[1]));
        case 'needs': return '';
        case 'code': return code(...head.split(' ').slice(1), options);
        case 'diff': return diff(...head.split(' ').slice(1), options);
        case 'svg': return picture(fill(readFileSync(join(here, rest[0]), 'utf8')), rest[0].match(/(\w+)\.svg$/)[1]);
        case 'plot':
            if (!plots[rest[0]]) throw new Error(`no plot ${rest[0]}`);
            return picture(plots[rest[0]](rest[1]), `plot ${rest[0]}`);
        case 'questions': return `<ol class="asked">${asked.map(({ question, number }) => `<li><a href="#${number}">${number}</a>${question}</li>`).join('')}</ol>`;
        case 'repository': return repositoryBlock();
        case 'answer': return answer(rest.join(' '));
        // A figure and its unit stay on one line.
        default: return show(directive, figure(directive)).replaceAll(' ', '\u00a0');
    }
}

// A directive alone on its line may contain braces; within a line it ends at the first two.
const fill = (source) => source.replace(/^\{\{(.+)\}\}$|\{\{(.+?)\}\}/gm, (_, whole, part) => resolve(whole ?? part));

// A slide with figures needs the command that measures them.
function complain(slide, number) {
    const title = slide.match(/^#+ (.*)$/m)?.[1] ?? 'no title';
    const shown = slide.replace(/^<!--\n[^]*?\n-->/m, '');
    const measured = /\{\{(?!code |diff |svg |needs |repository|questions)/.test(shown);
    const isTitle = /^<!-- _class: .*\btitle\b/m.test(slide);
    if (measured && !isTitle && !/^```sh$/m.test(slide)) throw new Error(`slide ${number} (${title}) has figures and no command`);
    if (/^#+ …/m.test(slide)) throw new Error(`slide ${number} (${title}): its title claims nothing`);
}

const isMeasured = (slide) => [...slide.matchAll(/\{\{needs (\S+)\}\}/g)].every(([, path]) => has(path));

try {
    const source = readFileSync(join(here, 'talk.md'), 'utf8');
    const missing = unanswered(source);
    if (missing.length) throw new Error(`no slide answers "${missing.join('", "')}"`);
    const [head] = source.match(/^---\n[^]*?\n---\n/);
    const slides = source.slice(head.length).split(/^---$/m).filter(isMeasured);
    slides.forEach((slide, at) => complain(slide, at + 1));
    asked = slides.flatMap((slide, at) => [...slide.matchAll(/\{\{answer (.*)\}\}/g)].map(([, question]) => ({ question, number: at + 1 })));
    const talk = withClock(slides.map(fill));
    process.stdout.write(head + talk.slides.join('---'));
    console.error(`slides: ${talk.minutes.toFixed(1)} minutes with the demos, figures from ${[...figures.series].join(', ')}`);
} catch (error) {
    console.error(`slides: ${error.message}`);
    process.exitCode = 1;
}
