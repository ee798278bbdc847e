'use strict';
// The live page. /events sends one sample per second; this computes rates from the counters of two samples.

const KEPT_SECONDS = 300;
const SHOWN_SECONDS_MIN = 60;
const GAP_SECONDS = 3;
const STALE_MS = 3500;
const LIMITS_SHOWN = 5;

// The last minutes, oldest first. They survive a reload of this tab.
const KEPT_AS = 'past';
let past = JSON.parse(sessionStorage.getItem(KEPT_AS)) || [];
// The last sample, with its rates.
let last = null;
let lastHeard = 0;
let drained = false;

const at = (id) => document.getElementById(id);
const show = (id, text) => { at(id).textContent = text; };

// Three significant digits, thousands separated.
function number(value) {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size >= 100) return Math.round(+value.toPrecision(3)).toLocaleString('en-US');
  return String(+value.toPrecision(3));
}

const whole = (value) => Math.round(value).toLocaleString('en-US');

// A figure and its unit: the largest that leaves one digit before the point.
function scaled(value, steps) {
  const rounded = +value.toPrecision(3);
  const [factor, unit] = steps.find(([least]) => Math.abs(rounded) >= least) || steps[steps.length - 1];
  return [number(rounded / factor), unit];
}
const bytes = (value) => scaled(value, [[1e12, 'TB'], [1e9, 'GB'], [1e6, 'MB'], [1e3, 'KB'], [1, 'B']]);
// Precise to 6%: two digits suffice.
const micros = (value) => scaled(+value.toPrecision(2), [[1e6, 's'], [1e3, 'ms'], [1, 'µs']]);
const text = ([figure, unit]) => `${figure} ${unit}`;
const perSecond = (value) => `${number(value)}/s`;

function duration(seconds) {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(seconds)} s`;
}

// The rates between two samples, null without an earlier one.
function rates(sample, before) {
  const seconds = before && sample.uptime_seconds - before.uptime_seconds;
  const rate = (now, then) => (seconds ? (now - then) / seconds : null);
  return {
    setup: rate(sample.accepted, before?.accepted),
    leaving: rate(sample.closed, before?.closed),
    refused: rate(sample.rejected, before?.rejected),
    sent: rate(sample.messages, before?.messages),
    shards_sent: sample.shards.map(([, messages], i) => rate(messages, before?.shards[i][1]) ?? 0),
  };
}

// What the plots show of a sample.
function point({ stage, uptime_seconds, connections, accepted, latency, resident_bytes, kernel_bytes }, { setup, sent }) {
  const [p50, p99] = [latency?.p50_us ?? null, latency?.p99_us ?? null];
  return { stage, at: uptime_seconds, connections, accepted, setup, sent, p50, p99, resident_bytes, kernel_bytes };
}

function hear(sample) {
  const previous = past[past.length - 1];
  const { stage, uptime_seconds: uptime, accepted } = sample;
  if (previous && (stage !== previous.stage || uptime < previous.at || accepted < previous.accepted)) {
    [past, last] = [[], null]; // another server
  }
  const now = { ...sample, ...rates(sample, last) };
  last = now;
  // A new listener gets the latest sample at once, which this page may have.
  if (past[past.length - 1]?.at !== uptime) past.push(point(sample, now));
  while (past[0].at < uptime - KEPT_SECONDS) past.shift();
  [lastHeard, drained] = [Date.now(), sample.draining];
  state(sample.draining ? 'draining' : 'live', sample.draining);
  document.body.classList.remove('stale');
  figures(now);
  plots();
  shards(now);
  limits(now);
}

function figures(now) {
  const [, stage, name] = now.stage.match(/^stage(\d)-(.*)$/) || [null, '', now.stage];
  document.body.dataset.stage = stage;
  show('stage', stage ? `stage ${stage}: ${name.replaceAll('-', ' ')}` : name);
  document.title = `${whole(now.connections)} · ${now.stage}`;
  show('uptime', `version ${now.version}, up ${duration(now.uptime_seconds)}`);
  show('connections', whole(now.connections));
  const [limit] = now.limits;
  show('connections-note', `limit ${whole(limit.limit)} · ${whole(now.accepted)} opened so far`);
  show('rejected', now.rejected ? `· ${whole(now.rejected)} rejected` : '');
  if (now.setup !== null) {
    show('setup', number(now.setup));
    const refused = now.refused > 0;
    show('setup-note', refused ? `rejected: ${number(now.refused)}/s` : `closed: ${number(now.leaving)}/s`);
    at('setup-note').classList.toggle('bad', refused);
    show('messages', number(now.sent));
    const each = now.connections ? now.sent / now.connections : 0;
    show('messages-note', each ? `${number(each)}/s per connection` : 'none');
  }
  const latency = now.latency ? micros(now.latency.p99_us) : ['–', ''];
  unit('latency', latency);
  show('latency-note', now.latency ? `p50 ${text(micros(now.latency.p50_us))}, of ${whole(now.latency.timed)} timed` : 'no echoes');
  memory('user', now.resident_bytes, now.resident_bytes - now.resident_at_start_bytes, now.connections, 'since the start');
  memory('kernel', now.kernel_bytes, now.kernel_bytes, now.connections, `by ${now.kernel_source}`);
}

function unit(id, [figure, of]) {
  show(id, figure);
  show(`${id}-unit`, of);
}

function memory(id, all, grown, connections, otherwise) {
  if (all === null) return show(`${id}-note`, 'not in /proc');
  unit(id, bytes(all));
  const each = connections >= 100 && grown > 0;
  show(`${id}-note`, each ? `${text(bytes(grown / connections))} per connection` : `${text(bytes(Math.max(grown, 0)))} ${otherwise}`);
}

function state(words, bad) {
  show('state', words);
  at('state').classList.toggle('bad', bad);
}

function limits(now) {
  const rows = now.limits.map((limit) => ({ ...limit, part: limit.taken / limit.limit }));
  rows.sort((one, other) => other.part - one.part);
  at('limits').replaceChildren(...rows.slice(0, LIMITS_SHOWN).map(({ name, taken, limit, bytes: inBytes, part }) => {
    const count = limit < 100 ? (value) => String(+value.toFixed(2)) : whole;
    const words = inBytes ? (value) => text(bytes(value)) : count;
    const row = document.createElement('li');
    row.classList.toggle('near', part >= 0.9);
    row.style.setProperty('--part', `${Math.min(part, 1) * 100}%`);
    const label = document.createElement('span');
    const amount = document.createElement('small');
    amount.textContent = ` ${words(taken)} of ${words(limit)}`;
    label.append(name, amount);
    const share = document.createElement('b');
    share.textContent = `${(part * 100).toFixed(part < 0.0995 ? 1 : 0)}%`;
    row.append(label, document.createElement('i'), share);
    return row;
  }));
}

function shards(now) {
  const connections = now.shards.map(([open]) => open);
  show('shards-title', connections.length === 1 ? 'one shard' : `${connections.length} shards`);
  const range = (values) => {
    const [least, most] = [Math.min(...values), Math.max(...values)].map(number);
    return least === most ? least : `${least} to ${most}`;
  };
  show('shards-connections-note', `connections: ${range(connections)}`);
  show('shards-messages-note', `messages: ${range(now.shards_sent)}/s`);
  bars('shards-connections', connections, number);
  bars('shards-messages', now.shards_sent, perSecond);
}

// --- drawing ---

function element(name, attributes, words) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (words !== undefined) made.textContent = words;
  return made;
}

function size(svg) {
  const { width, height } = svg.getBoundingClientRect();
  return { width, height, rem: parseFloat(getComputedStyle(document.documentElement).fontSize) };
}

// One bar per shard, below the scale's largest value.
function bars(id, values, words) {
  const svg = at(id);
  const { width, height, rem } = size(svg);
  if (!width || !height) return;
  const top = 1.2 * rem;
  const step = Math.min(width / values.length, 3 * rem);
  const most = ceiling(Math.max(...values));
  const y = (value) => height - (value / most) * (height - top);
  svg.replaceChildren(
    ...rules([0, most / 2, most].map(y), width),
    ...values.map((value, i) => (
      element('rect', { class: 'bar', x: i * step, y: y(value), width: step * 0.8, height: height - y(value) }))),
    element('text', { x: 0, y: top - 0.3 * rem }, words(most)),
  );
}

const rules = (ys, width) => ys.map((y) => element('line', { class: 'rule', x1: 0, x2: width, y1: y, y2: y }));

// The smallest round number at or above a value.
function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

function plots() {
  plot('connections-plot', ['connections'], number, true);
  plot('setup-plot', ['setup'], perSecond);
  plot('messages-plot', ['sent'], perSecond);
  plot('latency-plot', ['p99', 'p50'], (value) => text(micros(value)));
  plot('user-plot', ['resident_bytes'], (value) => text(bytes(value)));
  plot('kernel-plot', ['kernel_bytes'], (value) => text(bytes(value)));
}

function plot(id, names, words, withTime) {
  const svg = at(id);
  const { width, height, rem } = size(svg);
  if (!width || !height) return;
  const [top, bottom] = [1.2 * rem, height - (withTime ? 1.2 * rem : 0)];
  const now = past[past.length - 1].at;
  const shown = Math.min(Math.max(now - past[0].at, SHOWN_SECONDS_MIN), KEPT_SECONDS);
  const most = ceiling(Math.max(...past.flatMap((point) => names.map((name) => point[name] || 0))));
  const x = (seconds) => width - ((now - seconds) / shown) * width;
  const y = (value) => bottom - (value / most) * (bottom - top);
  const parts = rules([0, most / 2, most].map(y), width);
  names.forEach((name, i) => {
    for (const piece of pieces(name)) {
      const path = smooth(piece.map((point) => [x(point.at), y(point[name])]));
      if (i === 0) {
        const ends = [x(piece[piece.length - 1].at), x(piece[0].at)];
        parts.push(element('path', { class: 'area', d: `${path}L${ends[0]},${bottom}L${ends[1]},${bottom}Z` }));
      }
      parts.push(element('path', { class: i === 0 ? 'line' : 'line second', d: path }));
    }
  });
  parts.push(element('text', { x: 0, y: top - 0.3 * rem }, words(most)));
  if (withTime) {
    const label = shown > 90 ? `${number(shown / 60)} min ago` : `${Math.round(shown)} s ago`;
    parts.push(element('text', { x: 0, y: height }, label));
    parts.push(element('text', { x: width, y: height, 'text-anchor': 'end' }, 'now'));
  }
  svg.replaceChildren(...parts);
}

// The past, with gaps where samples are missing.
function pieces(name) {
  const all = [];
  let end = null;
  for (const point of past) {
    if (point[name] === null) continue;
    if (end === null || point.at - end > GAP_SECONDS) all.push([]);
    all[all.length - 1].push(point);
    end = point.at;
  }
  return all;
}

// A curve through all points that never leaves the range of two neighbours (Fritsch and Carlson, 1980).
function smooth(points) {
  const slope = points.slice(1).map(([x, y], i) => (y - points[i][1]) / (x - points[i][0]));
  const tangent = points.map((_, i) => {
    const [left, right] = [slope[i - 1], slope[i]];
    if (left === undefined || right === undefined) return left ?? right ?? 0;
    return left * right <= 0 ? 0 : (2 * left * right) / (left + right);
  });
  const place = (x, y) => `${x.toFixed(1)},${y.toFixed(1)}`;
  return points.map(([x, y], i) => {
    if (i === 0) return `M${place(x, y)}`;
    const [x0, y0] = points[i - 1];
    const third = (x - x0) / 3;
    return `C${place(x0 + third, y0 + tangent[i - 1] * third)} ${place(x - third, y - tangent[i] * third)} ${place(x, y)}`;
  }).join('');
}

// --- listening ---

function listen() {
  const events = new EventSource('events');
  events.onmessage = (event) => hear(JSON.parse(event.data));
  events.onerror = () => {
    document.body.classList.add('stale');
    state(drained ? 'drained: waiting for the server' : 'no server: trying again', true);
    if (events.readyState !== EventSource.CLOSED) return; // it tries again by itself
    state('too many viewers: trying again', true);
    setTimeout(listen, 3000);
  };
}

setInterval(() => {
  if (!lastHeard || Date.now() - lastHeard < STALE_MS || document.body.classList.contains('stale')) return;
  state(`no data for ${Math.round((Date.now() - lastHeard) / 1000)} s`, true);
}, 1000);
window.addEventListener('resize', () => { if (last) { plots(); shards(last); } });
window.addEventListener('pagehide', () => sessionStorage.setItem(KEPT_AS, JSON.stringify(past)));
listen();
