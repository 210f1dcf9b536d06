'use strict';
// Reads {token, timestamp, nonce, key, message, id, random (hex), sealed}, one JSON object a line, and
// writes what the platform's own library makes of it: {sealed, signature, message, id}.
const readline = require('readline');
const { getSignature, decrypt, encrypt } = require('@wecom/crypto');

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const c = JSON.parse(line);
    const opened = decrypt(c.key, c.sealed);
    process.stdout.write(JSON.stringify({
      sealed: encrypt(c.key, c.message, c.id, Buffer.from(c.random, 'hex')),
      signature: getSignature(c.token, c.timestamp, c.nonce, c.sealed),
      message: opened.message,
      id: opened.id,
    }) + '\n');
  }
}

main();
