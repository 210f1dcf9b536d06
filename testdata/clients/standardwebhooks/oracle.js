'use strict';
// Reads {secret, headers, body}, one JSON object a line, and writes {error}: "" if the library of
// Standard Webhooks accepts the request.
const readline = require('readline');
const { Webhook } = require('standardwebhooks');

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const c = JSON.parse(line);
    let error = '';
    try {
      new Webhook(c.secret).verify(c.body, c.headers);
    } catch (e) {
      error = String(e.message);
    }
    process.stdout.write(JSON.stringify({ error }) + '\n');
  }
}

main();
