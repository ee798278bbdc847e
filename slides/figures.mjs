// The figures that a placeholder can name: runs in results/, and their medians as in the reports there.
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = join(dirname(fileURLToPath(import.meta.url)), '..');
export const read = (path) => readFileSync(join(root, path), 'utf8');
const json = (path) => JSON.parse(read(path));

// The series behind the talk.
const SERIES = 'results/2026-11-30-series/';

const used = new Set();

// The path of a file or a folder of the series.
export function path(file) {
    used.add(dirname(SERIES + file));
    return SERIES + file;
}

const median = (values) => {
    const sorted = values.filter((value) => value != null).sort((a, b) => a - b);
    if (sorted.length === 0) throw new Error('no figure to take the median of');
    const middle = sorted.length >> 1;
    return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};

// The level at which threads and connects are counted.
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
            threads: level(({ threads }) => threads),
            connects_per_s: level(({ connects_per_s }) => connects_per_s),
            cpu_us: loop((visit) => visit.closed_loop.cpu_us_per_echo),
            user_cpu_us: loop((visit) => visit.closed_loop.user_cpu_us_per_echo),
            open_p50_us: loop((visit) => percentile(visit, 50)),
            open_p99_us: loop((visit) => percentile(visit, 99)),
            kernel_cpu_us: loop((visit) => visit.closed_loop.cpu_us_per_echo - visit.closed_loop.user_cpu_us_per_echo),
        };
    }
    return { ...stages, machine: results.machine, settings: results.settings, commit: results.commit };
}

// What one run of a million says. Memory is two figures: `program_bytes` is the process before the first connection,
// `each_bytes` the slope from there. Every slide uses these.
function one(run) {
    const { memory, held } = run;
    const figures = {
        ...run,
        program_bytes: memory.server_start_bytes,
        each_bytes: memory.server_bytes_per_connection,
        connected_bytes: memory.server_connected_bytes,
        added_bytes: memory.server_connected_bytes - memory.server_start_bytes,
        kernel_bytes: memory.kernel_bytes,
        kernel_each_bytes: memory.kernel_bytes / held,
        all_each_bytes: memory.server_bytes_per_connection + memory.kernel_bytes / held,
        raw_echoes_per_s: run.raw && run.raw.pairs / run.raw.echoes_s,
    };
    const { program_bytes, each_bytes, all_each_bytes } = figures;
    return { ...figures, ten_thousand_bytes: program_bytes + 1e4 * each_bytes, million_bytes: program_bytes + 1e6 * each_bytes, million_all_bytes: program_bytes + 1e6 * all_each_bytes };
}

const churn = (run) => ({ ...run, failed: Object.values(run.failures).filter((count) => typeof count === 'number').reduce((sum, count) => sum + count, 0) });

function million(file) {
    const folder = join(root, dirname(file), 'runs');
    const all = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.json')).flatMap((name) => json(join(dirname(file), 'runs', name)).runs ?? []) : [];
    // The p99 in open loop, of every run that held as many as the merged one.
    const p99s = ({ stage, held, open_loop }) => [...new Set([open_loop?.latency.p99_us, ...all.filter((run) => run.stage === stage && run.held === held && run.open_loop).map((run) => run.open_loop.latency.p99_us)])];
    const stages = Object.fromEntries(json(file).runs.map((run) => [run.stage, { ...one(run), p99s_us: p99s(run) }]));
    // The thread of stage 1 is in the kernel too: what its kernel memory has more than a socket's.
    stages[1].kernel_thread_bytes = stages[1].kernel_each_bytes - stages[4].kernel_each_bytes;
    return { ...stages, most: one(json(path('million/runs/stage4-2500000.json')).runs[0]), churn: churn(json(path('churn.json'))) };
}

// The CPU time per second in which a stage checks its connections for timeouts.
function sweep(file) {
    return Object.fromEntries(read(file).trim().split('\n').slice(1).map((line) => line.split(',')).map(([stage, connections, , ms]) => [stage, { connections: Number(connections), busy_us: ms * 1000 }]));
}

// The stacks of a profile, as `perf script` and `inferno-collapse-perf` write them: [frames, samples].
function folded(file) {
    return read(file).trim().split('\n').map((line) => {
        const [, stack, samples] = line.match(/^(.*) (\d+)$/);
        return [stack.split(';'), Number(samples)];
    });
}

// p50, p99 and p99.9 of each stage where one message in a thousand takes 10 ms.
function slowHandler(file) {
    return Object.fromEntries(read(file).trim().split('\n').slice(1).map((line) => line.split(',').map(Number)).map(([stage, p50_us, p99_us, p999_us]) => [stage, { p50_us, p99_us, p999_us }]));
}

function readiness(path) {
    const calls = {};
    for (const line of read(path).trim().split('\n').slice(1)) {
        const [call, idle, median_ns] = line.split(',');
        (calls[call] ??= {})[idle] = { ns: Number(median_ns) };
    }
    return calls;
}

function questions() {
    const per = (name) => json(path(`questions/memory-${name}.json`)).server.rss_bytes_per_connection;
    const rounds = (scenario, stage) => [1, 2, 3].map((round) => json(path(`questions/${scenario}-stage${stage}-${round}.json`)));
    const stages = Object.fromEntries([1, 2, 3, 4].map((stage) => [stage, {
        storm_connects_per_s: median(rounds('storm', stage).map((run) => run.connect.connects_per_s)),
        storm_handshake_p99_us: median(rounds('storm', stage).map((run) => run.connect.handshake.p99_us)),
        burst_echoes_per_s: median(rounds('burst', stage).map((run) => run.echo.echoes_per_s)),
        burst_p50_us: median(rounds('burst', stage).map((run) => run.echo.latency.p50_us)),
        burst_p99_us: median(rounds('burst', stage).map((run) => run.echo.latency.p99_us)),
    }]));
    return {
        ...stages,
        second_task_bytes: per('two-tasks') - per('one-task'),
        default_buffer_bytes: per('default-buffer') - per('one-task'),
        tls_more_bytes: tlsMore(path('questions/tls.csv')),
        slab: slabs(path('questions/slabinfo-before.txt'), path('questions/slabinfo-with-10000.txt')),
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

// The share of each slab in a socket's memory: the growth with 10,000 connections, whose 20,000 sockets are all on the machine.
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
    const share = (name) => each.get(name) / all;
    const parts = { tcp: share('TCP'), inode: share('sock_inode_cache'), dentry: share('dentry'), file: share('filp') };
    return { ...parts, rest: 1 - Object.values(parts).reduce((a, b) => a + b, 0) };
}

export const figures = {
    ladder: ladder(path('ladder/results.json')),
    million: million(path('million/million.json')),
    readiness: readiness(path('readiness/readiness.csv')),
    questions: questions(),
    slow: slowHandler(path('slow-handler.csv')),
    sweep: sweep(path('profile/sweep.csv')),
    profile: { 4: folded(path('profile/stage4.folded')) },
    series: used,
};
figures.million[2].two_tasks_million_all_bytes = figures.million[2].million_all_bytes + 1e6 * figures.questions.second_task_bytes;
const { limits } = figures.ladder.machine;
figures.limits = {
    nofile: limits['nofile, hard limit'],
    backlog: limits['net.core.somaxconn'],
    syn_backlog: limits['net.ipv4.tcp_max_syn_backlog'],
    maps: limits['vm.max_map_count'],
    ports: limits['net.ipv4.ip_local_port_range'],
};

const scaled = (value, units, step) => {
    let unit = 0;
    while (Math.abs(value) >= step * 0.9995 && unit < units.length - 1) { value /= step; unit += 1; }
    return `${significant(value)} ${units[unit]}`;
};
// Three digits, also where the last ones are zeros.
export const significant = (value) => (value >= 100 ? Math.round(Number(value.toPrecision(3))).toLocaleString('en') : value.toPrecision(3));

// A figure as text, formatted by the unit at the end of its name.
export function show(name, value) {
    if (typeof value === 'string') return value;
    if (Array.isArray(value)) return joined(value.map((each) => show(name.replace(/s_us$/, '_us'), each)));
    if (typeof value !== 'number') throw new Error(`${name} is ${JSON.stringify(value)}, not a figure`);
    if (/bytes(_per_connection)?$/.test(name)) return scaled(value, ['B', 'KB', 'MB', 'GB'], 1000);
    if (/ns$/.test(name)) return scaled(value, ['ns', 'µs', 'ms'], 1000);
    if (/us$/.test(name)) return value < 1e6 ? scaled(value, ['µs', 'ms'], 1000) : `${significant(value / 1e6)} s`;
    if (/per_s$/.test(name)) return `${significant(value)}/s`;
    if (/_s$/.test(name)) return `${significant(value)} s`;
    return value.toLocaleString('en');
}

// "17.1, 26.0 and 9.35 ms": the unit once, where all have the same.
function joined(texts) {
    const units = texts.map((text) => text.split(' ')[1]);
    const bare = units.every((unit) => unit === units[0]) ? texts.map((text, at) => (at < texts.length - 1 ? text.split(' ')[0] : text)) : texts;
    return bare.length > 1 ? `${bare.slice(0, -1).join(', ')} and ${bare.at(-1)}` : bare[0];
}

export const has = (path) => path.split('.').reduce((at, key) => at?.[key], figures) != null;

// The figure at a dotted path.
export function figure(path) {
    const value = path.split('.').reduce((at, key) => {
        if (at == null || !Object.hasOwn(at, key)) throw new Error(`no figure ${path} (there is no ${key})`);
        return at[key];
    }, figures);
    if (value == null) throw new Error(`no figure ${path}: it was not measured`);
    return value;
}
