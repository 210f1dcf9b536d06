'use strict';
// A bot on node-easywechat. It reads commands from standard input, one JSON object a line
// ({"do": "sync" | "reply" | "mass" | "upload", ...}), and writes what came back, one a line.
// The base URL is all that tells it of the gateway.
const readline = require('readline');
const { Work, FormData } = require('node-easywechat');

const [baseURL, corpId, secret, cacheDir] = process.argv.slice(2);
const app = new Work({
  corp_id: corpId,
  secret,
  http: { baseURL, throw: false, timeout: 10000 },
  file_cache: { path: cacheDir },
});
const client = app.getClient();

const actions = {
  sync: (c) => client.postJson('cgi-bin/kf/sync_msg', { open_kfid: c.channel, cursor: c.cursor || '' }),
  reply: (c) => client.postJson('cgi-bin/kf/send_msg', {
    touser: c.customer, open_kfid: c.channel, msgtype: 'text', text: { content: c.text },
  }),
  mass: (c) => client.postJson('cgi-bin/externalcontact/add_msg_template', {
    external_userid: [c.customer], sender: 'zhangsan', text: { content: 'a sale' },
  }),
  upload: (c) => {
    const form = new FormData();
    form.append('media', Buffer.alloc(c.size, 7), { filename: 'media.bin' });
    return client.request('POST', 'cgi-bin/media/upload', { params: { type: 'file' }, data: form });
  },
};

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    let out;
    try {
      out = (await actions[command.do](command)).toObject();
    } catch (e) {
      out = { error: String(e && e.message) };
    }
    process.stdout.write(JSON.stringify(out) + '\n');
  }
}

main();
