// Reads requests as JSON from stdin ([{"fields": {...}, "bodySize": N}, ...]), sends them at once on one HTTP/2
// connection to the URL in the arguments, and writes the answers to stdout ([{"status": 200, "body": "..."}, ...]).
'use strict';
const http2 = require('node:http2');
const fs = require('node:fs');

function ask(session, { fields, bodySize }) {
  return new Promise((resolve, reject) => {
    const stream = session.request(fields, { endStream: !bodySize });
    const answer = { body: '' };
    stream.setEncoding('utf8');
    stream.on('response', (response) => { answer.status = response[':status']; });
    stream.on('data', (piece) => { answer.body += piece; });
    stream.on('end', () => resolve(answer));
    stream.on('error', reject);
    if (bodySize) stream.end(Buffer.alloc(bodySize, 'x'));
  });
}

async function main() {
  const requests = JSON.parse(fs.readFileSync(0, 'utf8'));
  const session = http2.connect(process.argv[2], { rejectUnauthorized: false });
  const answers = await Promise.all(requests.map((request) => ask(session, request)));
  session.close();
  process.stdout.write(JSON.stringify(answers));
}

main();
