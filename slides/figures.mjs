// The figures that a placeholder can name: runs in results/, and their medians as in the reports there.
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');
export const read = (path) => readFileSync(join(root, path), 'utf8');
const json = (path) => JSON.parse(read(path));

const median = (values) => {
    const sorted = values.filter((value) => value != null).sort((a, b) => a - b);
    if (sorted.length === 0) throw new Error('no figure to take the median of');
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

// The level at which memory is quoted, as in the README.
const LEVEL = 10000;

function ladder(path) {
    const results = json(path);
    const stages = {};
    for (const { name } of results.targets) {
        const visits = results.visits.filter((visit) => visit.target === name);
        const level = (pick) => median(visits.map((visit) => pick(visit.levels.find(({ asked }) => asked === LEVEL))));
        const loop = (pick) => median(visits.map(pick));
        const percentile = (visit, wanted) => visit.open_loop.latency.percentiles_us.find(([at]) => at === wanted)[1];
        stages[name.match(/^stage(\d)/)[1]] = {
            held: median(visits.map((visit) => visit.held)),
            stopped: visits[0].stopped,
            idle_bytes: level(({ idle_bytes, open }) => idle_bytes / open),
            echoed_bytes: level(({ echoed_bytes, open }) => echoed_bytes / open),
            kernel_bytes: level(({ kernel_bytes, open }) => kernel_bytes / open),
            threads: level(({ threads }) => threads),
            connects_per_s: level(({ connects_per_s }) => connects_per_s),
            after_close_bytes: loop((visit) => visit.after_close.rss_bytes - visit.warm.rss_bytes),
            cpu_us: loop((visit) => visit.closed_loop.cpu_us_per_echo),
            user_cpu_us: loop((visit) => visit.closed_loop.user_cpu_us_per_echo),
            echoes_per_s: loop((visit) => visit.closed_loop.echoes_per_s),
            open_p50_us: loop((visit) => percentile(visit, 50)),
            open_p99_us: loop((visit) => percentile(visit, 99)),
            kernel_cpu_us: loop((visit) => visit.closed_loop.cpu_us_per_echo - visit.closed_loop.user_cpu_us_per_echo),
            ten_thousand_bytes: level(({ idle_bytes }) => idle_bytes),
            // What a million would take if each cost what it costs at LEVEL.
            million_all_bytes: 1e6 * level(({ idle_bytes, kernel_bytes, open }) => (idle_bytes + kernel_bytes) / open),
        };
    }
    return { ...stages, machine: results.machine, settings: results.settings, commit: results.commit };
}

function million(folder) {
    const merged = json(`${folder}/million.json`);
    const runs = Object.fromEntries(merged.runs.map((run) => [run.stage, { ...run,
        raw_echoes_per_s: run.raw && run.raw.pairs / run.raw.echoes_s }]));
    return { ...runs, most: json(`${folder}/runs/stage4-2500000.json`).runs[0], churn: json(`${folder}/runs/churn.json`) };
}

function readiness(path) {
    const calls = {};
    for (const line of read(path).trim().split('\n').slice(1)) {
        const [call, idle, median_ns] = line.split(',');
        (calls[call] ??= {})[idle] = { ns: Number(median_ns) };
    }
    return calls;
}

function questions(folder) {
    const per = (name) => json(`${folder}/memory-${name}.json`).server.rss_bytes_per_connection;
    const rounds = (scenario, stage) => [1, 2, 3].map((round) => json(`${folder}/${scenario}-stage${stage}-${round}.json`));
    const stages = Object.fromEntries([1, 2, 3, 4].map((stage) => [stage, {
        storm_connects_per_s: median(rounds('storm', stage).map((run) => run.connect.connects_per_s)),
        storm_handshake_p99_us: median(rounds('storm', stage).map((run) => run.connect.handshake.p99_us)),
        burst_echoes_per_s: median(rounds('burst', stage).map((run) => run.echo.echoes_per_s)),
        burst_p50_us: median(rounds('burst', stage).map((run) => run.echo.latency.p50_us)),
        burst_p99_us: median(rounds('burst', stage).map((run) => run.echo.latency.p99_us)),
    }]));
    return {
        ...stages,
        memory: { one_task_bytes: per('one-task'), two_tasks_bytes: per('two-tasks'), default_buffer_bytes: per('default-buffer') },
        tls_more_bytes: tlsMore(`${folder}/tls.csv`),
        slab: slabs(`${folder}/slabinfo-before.txt`, `${folder}/slabinfo-with-10000.txt`),
    };
}

// The additional HAProxy memory per connection with TLS.
function tlsMore(path) {
    const [plain, tls] = read(path).trim().split('\n').slice(1).map((line) => {
        const [, connections, empty_kb, idle_kb] = line.split(',');
        return ((idle_kb - empty_kb) * 1024) / connections;
    });
    return tls - plain;
}

// Bytes per socket, by slab: the growth with 10,000 connections, whose 20,000 sockets are all on the machine.
function slabs(before, after) {
    const objects = (path) => new Map(read(path).split('\n').slice(2).filter(Boolean).map((line) => {
        const [name, active, , size] = line.split(/\s+/);
        return [name, { active: Number(active), size: Number(size) }];
    }));
    const was = objects(before);
    const added = [...objects(after)].map(([name, { active, size }]) => ({ name, size, each: (active - was.get(name).active) * size / (2 * LEVEL) }));
    // Sockets in TIME_WAIT belong to no open connection.
    const each = new Map(added.filter(({ name, each }) => each > 0.5 && name !== 'tw_sock_TCP').map(({ name, each }) => [name, each]));
    const all = [...each.values()].reduce((total, bytes) => total + bytes, 0);
    const parts = { tcp_bytes: each.get('TCP'), inode_bytes: each.get('sock_inode_cache'), dentry_bytes: each.get('dentry'), file_bytes: each.get('filp') };
    return { ...parts, all_bytes: all, rest_bytes: all - Object.values(parts).reduce((a, b) => a + b, 0) };
}

export const figures = {
    ladder: ladder('results/2026-11-25-ladder/results.json'),
    million: million('results/2026-11-25-million'),
    readiness: readiness('results/2026-11-25-readiness/readiness.csv'),
    questions: questions('results/2026-11-25-questions'),
};

const scaled = (value, units, step) => {
    let unit = 0;
    while (Math.abs(value) >= step * 0.9995 && unit < units.length - 1) { value /= step; unit += 1; }
    return `${significant(value)} ${units[unit]}`;
};
const significant = (value) => {
    if (value >= 1000) return Math.round(Number(value.toPrecision(3))).toLocaleString('en');
    return String(Number(value.toPrecision(3)));
};

// A figure as text, formatted by the unit at the end of its name.
export function show(name, value) {
    if (typeof value === 'string') return value;
    if (typeof value !== 'number') throw new Error(`${name} is ${JSON.stringify(value)}, not a figure`);
    if (/bytes(_per_connection)?$/.test(name)) return scaled(value, ['B', 'KB', 'MB', 'GB'], 1000);
    if (/ns$/.test(name)) return scaled(value, ['ns', 'µs', 'ms'], 1000);
    if (/us$/.test(name)) return value < 1e6 ? scaled(value, ['µs', 'ms'], 1000) : `${significant(value / 1e6)} s`;
    if (/per_s$/.test(name)) return `${significant(value)}/s`;
    if (/_s$/.test(name)) return `${significant(value)} s`;
    return value.toLocaleString('en');
}

// The figure at a dotted path.
export function figure(path) {
    const value = path.split('.').reduce((at, key) => {
        if (at == null || !Object.hasOwn(at, key)) throw new Error(`no figure ${path} (there is no ${key})`);
        return at[key];
    }, figures);
    if (value == null) throw new Error(`no figure ${path}: it was not measured`);
    return value;
}
