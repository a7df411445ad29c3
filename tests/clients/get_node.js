// Sends a GET to the URL in the arguments with node:http2, and prints the response's content.
'use strict';
const http2 = require('node:http2');

const url = process.argv[2];
const path = new URL(url).pathname;
const stream = http2.connect(url).request({ ':path': path });
stream.on('end', () => stream.session.close());
stream.pipe(process.stdout);
