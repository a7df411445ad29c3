// echo.js PORT: what somebody would write to see a request's fields with node: its content is read
// and dropped, then the fields are the answer.
'use strict';
const http2 = require('node:http2');

const server = http2.createServer();

server.on('stream', (stream, fields) => {
  stream.on('error', () => {});  // a client that has gone
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
