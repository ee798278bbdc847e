// A flame graph: width is CPU time, and what stands on a function was called by it.

const WIDTH = 1152;
const ROW = 44;
const CHARACTER = 13.2;

// The functions that are drawn, and their names; the first ones are the program's own.
const OWN = { run: 'the event loop', ready: 'ready()', run_slice: 'run_slice()', accept: 'accept()' };
const KERNEL = {
    __x64_sys_sendto: 'send(2)', __x64_sys_recvfrom: 'recv(2)', __x64_sys_epoll_wait: 'epoll_wait(2)', tcp_sendmsg: 'tcp_sendmsg',
    tcp_write_xmit: 'tcp_write_xmit', ip_output: 'ip_output', net_rx_action: 'net_rx_action: the other end', tcp_v4_rcv: 'tcp_v4_rcv',
};

function tree(stacks) {
    const root = { samples: 0, below: new Map() };
    for (const [frames, samples] of stacks) {
        let at = root;
        at.samples += samples;
        for (const frame of frames.filter((name) => name in OWN || name in KERNEL)) {
            if (!at.below.has(frame)) at.below.set(frame, { samples: 0, below: new Map() });
            at = at.below.get(frame);
            at.samples += samples;
        }
    }
    return root;
}

export function flamePlot(stacks) {
    const root = tree(stacks);
    const boxes = [];
    const place = (node, left, depth) => {
        let x = left;
        for (const [name, child] of [...node.below].sort(([, a], [, b]) => b.samples - a.samples)) {
            const width = WIDTH * child.samples / root.samples;
            if (width >= 3) {
                boxes.push({ name, x, width, depth, share: child.samples / root.samples });
                place(child, x, depth + 1);
            }
            x += width;
        }
    };
    place(root, 0, 0);
    const height = ROW * (Math.max(...boxes.map(({ depth }) => depth)) + 1);
    const drawn = boxes.map(({ name, x, width, depth, share }) => {
        const y = height - ROW * (depth + 1);
        const isOwn = name in OWN;
        const label = [`${OWN[name] ?? KERNEL[name]} ${Math.round(100 * share)}%`, OWN[name] ?? KERNEL[name]].find((text) => text.length * CHARACTER + 16 < width);
        return `<rect x="${x.toFixed(1)}" y="${y}" width="${Math.max(width - 2, 1).toFixed(1)}" height="${ROW - 2}" fill="${isOwn ? 'var(--stage4)' : 'var(--stage3)'}"/>${label ? `<text x="${(x + 10).toFixed(1)}" y="${y + 30}" class="on">${label}</text>` : ''}`;
    });
    return `<svg viewBox="0 0 ${WIDTH} ${height}">
<title>Flame graph of stage 4 under load: most CPU time is in the kernel's tcp_sendmsg</title>
${drawn.join('\n')}
</svg>`;
}
