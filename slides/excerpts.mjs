// Excerpts of the sources: items, and hunks of the difference between two files.
import { execFileSync } from 'node:child_process';
import hljs from 'highlight.js';
import { read, root } from './figures.mjs';

function item(file, kind, name) {
    const lines = read(file).split('\n');
    const head = new RegExp(`^\\s*(pub(\\(.*?\\))? )?((async|const|unsafe) )*${kind} ${name}\\b`);
    const starts = lines.flatMap((line, at) => (head.test(line) ? [at] : []));
    if (starts.length !== 1) throw new Error(`${file} has ${starts.length} of ${kind} ${name}, not one`);
    const [start] = starts;
    if (lines[start].endsWith(';')) return [lines[start]];
    const indent = lines[start].match(/^\s*/)[0];
    const end = lines.findIndex((line, at) => at >= start && line.startsWith(indent) && /^[})\]][;,]?$/.test(line.slice(indent.length)));
    return lines.slice(start, end + 1);
}

// The lines of a diff from git, without its head; + and - are their first characters.
function difference(one, other) {
    try {
        execFileSync('git', ['diff', '--no-index', '--no-color', '--no-ext-diff', '--unified=3', one, other], { cwd: root, encoding: 'utf8', stdio: 'pipe' });
    } catch (error) {
        if (error.status === 1) return error.stdout.split('\n').filter((line) => /^[-+ ](?!--|\+\+)/.test(line));
        throw error;
    }
    throw new Error(`${one} and ${other} do not differ`);
}

// Each part `FIRST .. LAST` is the lines from the first that contains FIRST to the next one, no deeper, that starts with LAST;
// `FIRST` alone is one line. Parts follow one another; what is between them is `// …`.
function parts(lines, wanted, where) {
    const depth = (line) => line.search(/[^\s+-]/);
    const found = [];
    let from = 0;
    for (const part of wanted) {
        const [first, last] = part.split(' .. ');
        const start = lines.findIndex((line, at) => at >= from && line.includes(first));
        const end = last === undefined ? start : lines.findIndex((line, at) => at > start && line.replace(/^[+-]/, '').trim().startsWith(last) && depth(line) <= depth(lines[start]));
        if (start < 0 || end < 0) throw new Error(`${where}: no lines from "${first}" to "${last ?? first}"`);
        if (from && start > from) found.push(`${lines[start].replace(/^[+-]/, ' ').match(/^\s*/)[0]}// …`);
        found.push(...lines.slice(start, end + 1));
        from = end + 1;
    }
    return found;
}

const KINDS = { '+': ' add', '-': ' del' };

// A line of more columns is broken: behind a comma, before a method, or behind a bracket.
const MAX_COLUMNS = 87;

function broken(line) {
    if (line.length <= MAX_COLUMNS) return [line];
    const [prefix] = line.match(/^[-+ ]?\s*/);
    const at = Math.max(...[/, /g, /(?<=[)\]])(?=\.\w)/g].flatMap((place) => [...line.matchAll(place)].map((match) => match.index + match[0].length)).filter((at) => at <= MAX_COLUMNS));
    return at > prefix.length ? [line.slice(0, at).trimEnd(), ...broken(`${prefix}    ${line.slice(at)}`)] : [line];
}

// A block of code: `mark TEXT` marks the lines that contain TEXT, `as TITLE` replaces the file's name.
function block(file, all, options, isDiff) {
    const marks = options.filter((option) => option.startsWith('mark ')).map((option) => option.slice(5));
    const title = options.find((option) => option.startsWith('as '))?.slice(3) ?? file;
    const wanted = options.filter((option) => !/^(mark|as) /.test(option));
    const lines = wanted.length ? parts(all, wanted, file) : all;
    const indent = Math.min(...lines.filter((line) => line.trim()).map((line) => (isDiff ? line.slice(1) : line).match(/^ */)[0].length));
    for (const mark of marks) if (!lines.some((line) => line.includes(mark))) throw new Error(`${file}: no line to mark contains "${mark}"`);
    const rows = lines.map((line) => (isDiff ? line[0] + line.slice(1 + indent) : line.slice(indent))).flatMap(broken).map((line) => {
        const text = hljs.highlight((isDiff ? line.slice(1) : line) || ' ', { language: 'rust' }).value;
        const kind = isDiff ? KINDS[line[0]] ?? '' : marks.some((mark) => line.includes(mark)) ? ' mark' : '';
        return `<span class="line${kind}">${isDiff ? `<b>${line[0] ?? ' '}</b> ` : ''}${text}</span>`;
    });
    return `<pre class="excerpt"><span class="file">${title}</span><code>${rows.join('')}</code></pre>`;
}

export const code = (file, kind, name, options) => block(file, item(file, kind, name), options, false);
export const diff = (one, other, options) => block(other, difference(one, other), options, true);
