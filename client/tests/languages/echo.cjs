// An echo server on Node's ws, for the client's tests. Prints its port. The path selects what it does: /greet sends a
// message first, /fragments echoes in fragments with a ping between them, /deflated names an extension that the client
// has not offered.
const { WebSocketServer } = require('ws');

// Compression is on, where a client offers it.
const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  perMessageDeflate: true,
  maxPayload: 0,
  handleProtocols: (offered) => (offered.has('echo.v1') ? 'echo.v1' : false),
});

server.on('headers', (headers, { url }) => {
  if (url === '/deflated') headers.push('Sec-WebSocket-Extensions: permessage-deflate');
});

server.on('connection', (socket, { url }) => {
  if (url === '/greet') socket.send('welcome');
  socket.on('error', () => socket.terminate());
  socket.on('message', (data, binary) => {
    if (url !== '/fragments') return socket.send(data, { binary });
    const cut = Math.floor(data.length / 3);
    socket.send(data.subarray(0, cut), { binary, fin: false });
    socket.ping();
    socket.send(data.subarray(cut), { binary, fin: true });
  });
});

server.on('listening', () => console.log(server.address().port));
