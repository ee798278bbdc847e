// Plots that are not in the reports.

const FONT = "-apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif";
const [WIDTH, HEIGHT] = [1120, 470];
const FRAME = { left: 96, right: 850, top: 16, bottom: 412 };
const GREY = 'var(--muted)';
const STAGES = { 1: ['threads', 'var(--stage1)'], 2: ['tasks', 'var(--stage2)'], 3: ['event loop', 'var(--stage3)'], 4: ['zero buffers', 'var(--stage4)'] };

const at = (value, [low, high], [from, to]) => from + ((Math.log10(value) - Math.log10(low)) / (Math.log10(high) - Math.log10(low))) * (to - from);

// Lines of `points` [x, y]; a tick is [value, label]. Labels are at the last points, pushed apart.
function plot({ title, x, y, lines }) {
    const px = (value) => at(value, x.range, [FRAME.left, FRAME.right]).toFixed(1);
    const py = (value) => at(value, y.range, [FRAME.bottom, FRAME.top]).toFixed(1);
    const grid = y.ticks.map(([value, label]) => `<path d="M${FRAME.left} ${py(value)}H${FRAME.right}" stroke="var(--rule)"/>
<text x="${FRAME.left - 12}" y="${Number(py(value)) + 7}" text-anchor="end" class="tick">${label}</text>`);
    const feet = x.ticks.map(([value, label]) => `<text x="${px(value)}" y="${FRAME.bottom + 28}" text-anchor="middle" class="tick">${label}</text>`);
    const drawn = lines.map(({ points, colour, width = 4, dash }) => `<path d="M${points.map(([a, b]) => `${px(a)} ${py(b)}`).join('L')}" fill="none" stroke="${colour}" stroke-width="${width}" stroke-linejoin="round" stroke-linecap="round"${dash ? ` stroke-dasharray="${dash}"` : ''}/>`);
    const named = lines.filter(({ name }) => name).map((line) => ({ ...line, y: Number(py(line.points.at(-1)[1])) })).sort((a, b) => a.y - b.y);
    named.forEach((line, index) => { if (index) line.y = Math.max(line.y, named[index - 1].y + 56); });
    const names = named.map(({ name, note, colour, points, y: middle }) => {
        const end = Number(px(points.at(-1)[0]));
        // To the right of a curve that reaches the edge, above one that ends earlier.
        const [x, y, anchor] = end < FRAME.right ? [end + 6, middle - 44, 'end'] : [end + 16, middle, 'start'];
        return `<text x="${x}" y="${y}" text-anchor="${anchor}" fill="${colour}" class="name">${name}</text>
<text x="${x}" y="${y + 25}" text-anchor="${anchor}" class="tick">${note}</text>`;
    });
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" font-family="${FONT}">
<title>${title}</title>
<style>.tick { font-size: 20px; fill: var(--quiet) } .name { font-size: 23px; font-weight: 650 }</style>
${[...grid, ...feet, ...drawn, ...names].join('\n')}
<path d="M${FRAME.left} ${FRAME.bottom}H${FRAME.right}" stroke="var(--quiet)"/>
<text x="${(FRAME.left + FRAME.right) / 2}" y="${HEIGHT - 6}" text-anchor="middle" class="tick">${x.name}</text>
</svg>`;
}

const CONNECTIONS = [[1e3, '1,000'], [1e4, '10,000'], [1e5, '100,000'], [1e6, '1,000,000']];
const BYTES = [[1e7, '10 MB'], [1e8, '100 MB'], [1e9, '1 GB'], [1e10, '10 GB']];

// Memory against connections: this stage and the previous one in colour, the others in grey.
export function stagePlot(million, stage, show) {
    const lines = [1, 2, 3, 4].map((number) => {
        const [name, colour] = STAGES[number];
        const { curve, held, stopped } = million[number];
        const points = curve.filter(({ connections }) => connections > 0).map(({ connections, rss_bytes }) => [connections, rss_bytes]);
        const shown = number === stage || number === stage - 1;
        const note = stopped ? `stops at ${held.toLocaleString('en')}` : show('bytes', curve.at(-1).rss_bytes);
        return { points, colour: shown ? colour : GREY, width: number === stage ? 6 : 3, name: shown && `${number} · ${name}`, note };
    });
    return plot({
        title: `Server memory against connections: stage ${stage} and the one before`,
        x: { range: [800, 1e6], ticks: CONNECTIONS, name: 'connections held' },
        y: { range: [2e6, 1.4e10], ticks: BYTES },
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
        x: { range: [10, 10000], ticks: [[10, '10'], [100, '100'], [1000, '1,000'], [10000, '10,000']], name: 'idle descriptors watched, in addition to the ready one' },
        y: { range: [100, 1e6], ticks: [[1e2, '100 ns'], [1e3, '1 µs'], [1e4, '10 µs'], [1e5, '100 µs'], [1e6, '1 ms']] },
        lines: [
            { points: points('poll', () => true), colour: 'var(--stage2)', name: 'poll', note: 'all, at every call' },
            { points: points('select', (idle) => idle < FD_SETSIZE), colour: 'var(--stage1)' },
            { points: points('select', (idle) => idle >= 1000), colour: 'var(--stage1)', width: 3, dash: '2 9', name: 'select', note: '1,024 in the C library' },
            { points: points('epoll', () => true), colour: 'var(--stage4)', name: 'epoll', note: 'the one that is ready' },
        ],
    });
}

// The kernel memory of a socket, part by part.
export function kernelPlot(slab, show) {
    const parts = [['tcp', 'TCP socket', 'var(--stage3)'], ['inode', 'inode', 'var(--stage2)'], ['dentry', 'directory entry', 'var(--stage1)'], ['file', 'file', 'var(--other1)'], ['rest', 'epoll entry, ports, all else', 'var(--stage4)']];
    const scale = WIDTH / slab.all_bytes;
    let x = 0;
    const drawn = parts.map(([key, name, colour], index) => {
        const bytes = slab[`${key}_bytes`];
        const [left, width] = [x, bytes * scale];
        x += width;
        const y = 190 + index * 42;
        return `<rect x="${left.toFixed(1)}" y="20" width="${width.toFixed(1)}" height="110" fill="${colour}" stroke="var(--surface)" stroke-width="2"/>
<rect x="0" y="${y - 19}" width="24" height="24" rx="4" fill="${colour}"/><text x="40" y="${y}">${name}</text><text x="470" y="${y}" text-anchor="end">${Math.round(bytes).toLocaleString('en')} B</text>`;
    });
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} 430" width="${WIDTH}" height="430" font-family="${FONT}" font-size="23">
<title>Kernel memory of a socket, part by part</title>
${drawn.join('\n')}
<text x="${WIDTH}" y="190" text-anchor="end" font-size="27" font-weight="650">${show('all_bytes', slab.all_bytes)} per socket</text>
</svg>`;
}
