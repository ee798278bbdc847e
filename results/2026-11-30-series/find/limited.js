// Echoes at most 20,000 messages per second, in order, by the clock: node limited.js PORT
const { WebSocketServer } = require('ws');

const EVERY_NS = 50000n;
const waiting = [];
let head = 0;
let next = 0n;

function pump() {
    const now = process.hrtime.bigint();
    while (head < waiting.length && next <= now) {
        const [peer, message, binary] = waiting[head++];
        peer.send(message, { binary });
        next += EVERY_NS;
    }
    if (head < waiting.length) return setImmediate(pump);
    waiting.length = head = 0;
}

const server = new WebSocketServer({ port: Number(process.argv[2]), host: '127.0.0.1', perMessageDeflate: false });
server.on('connection', (peer) => peer.on('message', (message, binary) => {
    const now = process.hrtime.bigint();
    if (waiting.length === 0 && next < now) next = now;
    waiting.push([peer, message, binary]);
    if (waiting.length - head === 1) pump();
}));
