// The plots, as SVG in the page: classes and colours are those of theme.css.

const WIDTH = 1152;
const STAGES = { 1: ['threads', 'var(--stage1)'], 2: ['tasks', 'var(--stage2)'], 3: ['event loop', 'var(--stage3)'], 4: ['zero buffers', 'var(--stage4)'] };
const NUMBERS = [1, 2, 3, 4];

const at = (value, [low, high], [from, to]) => from + ((Math.log10(value) - Math.log10(low)) / (Math.log10(high) - Math.log10(low))) * (to - from);

// All plots of lines have this size, so that nothing moves from one to the next.
const HEIGHT = 410;
const FRAME = { left: 116, right: 850, top: 50, bottom: 332 };
const LABEL_HEIGHT = 66;

// Lines of `points` [x, y] on logarithmic axes; a tick is [value, label]. A line's label is where it ends.
function plot({ title, x, y, lines }) {
    const px = (value) => at(value, x.range, [FRAME.left, FRAME.right]);
    const py = (value) => at(value, y.range, [FRAME.bottom, FRAME.top]);
    const path = (points) => `M${points.map(([a, b]) => `${px(a).toFixed(1)} ${py(b).toFixed(1)}`).join('L')}`;
    const grid = y.ticks.map(([value, label]) => `<path d="M${FRAME.left} ${py(value).toFixed(1)}H${FRAME.right}" stroke="var(--rule)" stroke-width="2"/><text x="${FRAME.left - 14}" y="${(py(value) + 8).toFixed(1)}" text-anchor="end" class="soft">${label}</text>`);
    const feet = x.ticks.map(([value, label]) => `<path d="M${px(value).toFixed(1)} ${FRAME.bottom}v8" stroke="var(--quiet)" stroke-width="2"/><text x="${px(value).toFixed(1)}" y="${FRAME.bottom + 34}" text-anchor="middle" class="soft">${label}</text>`);
    const drawn = lines.map(({ points, colour, width = 5, dash }) => `<path d="${path(points)}" fill="none" stroke="${colour}" stroke-width="${width}" stroke-linejoin="round" stroke-linecap="round"${dash ? ` stroke-dasharray="${dash}"` : ''}/>`);
    const ends = lines.filter(({ name }) => name).map((line) => ({ ...line, end: px(line.points.at(-1)[0]), y: py(line.points.at(-1)[1]) }));
    // To the right of a line that reaches the edge, pushed apart and kept in the picture; above one that ends earlier.
    const right = ends.filter(({ end }) => end > FRAME.right - 40).sort((a, b) => a.y - b.y);
    right.forEach((line, index) => { line.y = Math.max(line.y, FRAME.top - 16, index ? right[index - 1].y + LABEL_HEIGHT : 0); });
    right.toReversed().forEach((line, index, all) => { line.y = Math.min(line.y, HEIGHT - 30, index ? all[index - 1].y - LABEL_HEIGHT : Infinity); });
    const names = ends.map((line) => {
        const isRight = right.includes(line);
        const [left, top, anchor] = isRight ? [line.end + 16, line.y, 'start'] : [line.end + 10, line.y - 52, 'end'];
        const stop = isRight ? '' : `<circle cx="${line.end.toFixed(1)}" cy="${line.y.toFixed(1)}" r="10" fill="${line.colour}"/>`;
        return `${stop}<text x="${left.toFixed(1)}" y="${top.toFixed(1)}" text-anchor="${anchor}" fill="${line.colour}" class="strong">${line.name}</text><text x="${left.toFixed(1)}" y="${(top + 30).toFixed(1)}" text-anchor="${anchor}">${line.note}</text>`;
    });
    return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}">
<title>${title}</title>
<text x="0" y="24" class="axis">${y.name}</text>
${[...grid, ...feet, ...drawn, ...names].join('\n')}
<path d="M${FRAME.left} ${FRAME.bottom}H${FRAME.right}" stroke="var(--quiet)" stroke-width="2"/>
<text x="${(FRAME.left + FRAME.right) / 2}" y="${HEIGHT - 8}" text-anchor="middle" class="axis">${x.name}</text>
</svg>`;
}

const CONNECTIONS = [[1e3, '1,000'], [1e4, '10,000'], [1e5, '100,000'], [1e6, '1,000,000']];
const FEWEST = 850;
const BYTES = [[1e7, '10 MB'], [1e8, '100 MB'], [1e9, '1 GB'], [1e10, '10 GB']];

// Memory against connections, of this stage and those before it.
export function stagePlot(million, stage, show) {
    const lines = NUMBERS.filter((number) => number <= stage).map((number) => {
        const [name, colour] = STAGES[number];
        const { curve, each_bytes } = million[number];
        const points = curve.filter(({ connections }) => connections >= FEWEST).map(({ connections, rss_bytes }) => [connections, rss_bytes]);
        return { points, colour, width: number === stage ? 8 : 4, name: `${number} · ${name}`, note: `${show('bytes', each_bytes)} per connection` };
    });
    return plot({
        title: `Server memory against connections: ${lines.map(({ name }) => name).join(', ')}`,
        x: { range: [FEWEST, 1e6], ticks: CONNECTIONS, name: 'open connections' },
        y: { range: [4e6, 1e10], ticks: BYTES, name: 'memory of the server process' },
        lines,
    });
}

// The last descriptor in an fd_set of the C library (FD_SETSIZE - 1).
const FD_SETSIZE = 1024;

// The cost of one readiness call against the number of idle descriptors.
export function readinessPlot(calls) {
    const points = (call, pick) => Object.entries(calls[call]).map(([idle, { ns }]) => [Number(idle), ns]).filter(([idle]) => pick(idle));
    return plot({
        title: 'Time of one call against idle descriptors: select, poll and epoll',
        x: { range: [10, 10000], ticks: [[10, '10'], [100, '100'], [1000, '1,000'], [10000, '10,000']], name: 'idle descriptors, and one that is ready' },
        y: { range: [50, 1e6], ticks: [[1e2, '100 ns'], [1e3, '1 µs'], [1e4, '10 µs'], [1e5, '100 µs'], [1e6, '1 ms']], name: 'time of one call' },
        lines: [
            { points: points('poll', () => true), colour: 'var(--stage2)', name: 'poll', note: 'checks all, at every call' },
            { points: points('select', (idle) => idle < FD_SETSIZE), colour: 'var(--stage1)' },
            { points: points('select', (idle) => idle >= 1000), colour: 'var(--stage1)', width: 4, dash: '2 12', name: 'select', note: 'C library: 1,024 at most' },
            { points: points('epoll', () => true), colour: 'var(--stage4)', width: 8, name: 'epoll', note: 'returns what is ready' },
        ],
    });
}

// What an idle connection takes, in user space and in the kernel.
export function eachPlot(million, show) {
    const scale = 800 / million[1].all_each_bytes;
    const rows = NUMBERS.map((number) => {
        const [name, colour] = STAGES[number];
        const { each_bytes, kernel_each_bytes, kernel_thread_bytes = 0 } = million[number];
        const top = 66 + (number - 1) * 92;
        const parts = [[each_bytes, colour, 'on', each_bytes], [kernel_thread_bytes, 'var(--stage1-kernel)', 'on', kernel_thread_bytes], [kernel_each_bytes - kernel_thread_bytes, 'var(--muted)', '', kernel_each_bytes - kernel_thread_bytes]];
        let x = 210;
        const bars = parts.filter(([bytes]) => bytes * scale > 0).map(([bytes, fill, kind]) => {
            const [left, width] = [x, bytes * scale];
            x += width;
            const label = width > 120 ? `<text x="${(left + width / 2).toFixed(1)}" y="${top + 41}" text-anchor="middle" class="${kind}">${show('bytes', bytes)}</text>` : '';
            return `<rect x="${left.toFixed(1)}" y="${top}" width="${Math.max(width, 2).toFixed(1)}" height="62" fill="${fill}"/>${label}`;
        });
        const sum = number === 1 ? '' : `${show('bytes', each_bytes)} + ${show('bytes', kernel_each_bytes)}`;
        return `<text x="0" y="${top + 41}" class="strong" fill="${colour}">${number} · ${name}</text>${bars.join('')}<text x="${(x + 16).toFixed(1)}" y="${top + 41}">${sum}</text>`;
    });
    const x = (bytes) => 210 + bytes * scale;
    const [user, thread] = [million[1].each_bytes, million[1].kernel_thread_bytes];
    return `<svg viewBox="0 0 ${WIDTH} 420">
<title>Bytes per idle connection in user space and in the kernel, by stage</title>
<g text-anchor="middle"><text x="${x(user / 2).toFixed(1)}" y="44" class="soft">user space</text><text x="${x(user + thread / 2).toFixed(1)}" y="44" class="soft">kernel: its thread</text><text x="${(x(million[1].all_each_bytes) - 20).toFixed(1)}" y="44" class="soft">kernel: its socket</text></g>
${rows.join('\n')}
</svg>`;
}

// The shares of a socket's memory in the kernel.
export function kernelPlot(slab) {
    const parts = [['tcp', 'TCP socket', 'var(--stage3)'], ['inode', 'its inode', 'var(--stage2)'], ['dentry', 'its directory entry', 'var(--stage1)'], ['file', 'its open file', 'var(--other1)'], ['rest', 'epoll entry, ports, all else', 'var(--stage4)']];
    const rows = parts.map(([key, name, colour], index) => {
        const top = 10 + index * 76;
        const width = 600 * slab[key] / slab.tcp;
        return `<text x="0" y="${top + 41}" class="large">${name}</text><rect x="420" y="${top}" width="${width.toFixed(1)}" height="58" rx="8" fill="${colour}"/><text x="${(436 + width).toFixed(1)}" y="${top + 41}" class="head">${(100 * slab[key]).toPrecision(3)}%</text>`;
    });
    return `<svg viewBox="0 0 ${WIDTH} 384">
<title>The kernel's memory for a socket, part by part</title>
${rows.join('\n')}
</svg>`;
}

// A million connections on one scale: the picture of the title.
export function titlePlot(million, show) {
    const full = million[1].million_bytes;
    const rows = NUMBERS.map((number) => {
        const [name, colour] = STAGES[number];
        const { million_bytes, held } = million[number];
        const top = (number - 1) * 74;
        const width = Math.max(740 * million_bytes / full, 4);
        const stops = held < 1e6;
        const bar = stops ? `fill="none" stroke="${colour}" stroke-width="3" stroke-dasharray="10 8"` : `fill="${colour}"`;
        const value = stops ? `stops at ${held.toLocaleString('en')}` : show('bytes', million_bytes);
        const label = stops ? `<text x="250" y="${top + 39}" fill="${colour}" class="strong">${value}</text>` : `<text x="${(width + 246).toFixed(1)}" y="${number === 4 ? top + 51 : top + 39}"${number === 4 ? ` fill="${colour}" class="hairline"` : ' class="strong"'}>${value}</text>`;
        return `<text x="0" y="${top + 39}" fill="${colour}" class="strong">${name}</text><rect x="226" y="${top + 4}" width="${width.toFixed(1)}" height="52" ${bar}/>${label}`;
    });
    return `<svg viewBox="0 0 ${WIDTH} 300">
<title>Memory of each server with a million connections</title>
${rows.join('\n')}
</svg>`;
}
