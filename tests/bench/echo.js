// echo.js PORT: an echo server as one would write it with node:http2. It reads and discards a
// request's content, then responds with the request's fields.
'use strict';
const http2 = require('node:http2');

const server = http2.createServer();

server.on('stream', (stream, fields) => {
  stream.on('error', () => {});  // the client has closed the connection
  stream.on('end', () => {
    const body = JSON.stringify(fields);
    stream.respond({
      ':status': 200,
      'content-type': 'application/json',
      'content-length': Buffer.byteLength(body),
    });
    stream.end(body);
  });
  stream.resume();
});
server.on('sessionError', () => {});
server.listen({ port: Number(process.argv[2]), host: '127.0.0.1', backlog: 4096 });
