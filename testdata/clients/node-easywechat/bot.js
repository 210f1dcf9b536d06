'use strict';
// A bot on node-easywechat. It reads commands from standard input, one JSON object a line ({"do":
// "sync" | "reply" | "mass" | ..., ...}), and writes what the client's user sees, one a line:
// errcode and, where there is one, the text of the error. The base URL is all that tells it of the
// gateway.
const readline = require('readline');
const { Work, FormData, ServerRequest } = require('node-easywechat');

const [baseURL, corpId, secret, token, aesKey, cacheDir] = process.argv.slice(2);
const app = new Work({
  corp_id: corpId, secret, token, aes_key: aesKey,
  http: { baseURL },
  file_cache: { path: cacheDir },
});
const client = app.getClient();
const tokens = app.getAccessToken();

const post = async (path, body) => (await client.postJson(path, body)).toObject();
const send = (c, message) => post('cgi-bin/kf/send_msg', { touser: c.customer, open_kfid: c.channel, ...message });
const ok = { errcode: 0 };

const actions = {
  gettoken: async () => (await tokens.getToken()) ? ok : {},
  token: async (c) => { await app.getCache().set(tokens.getKey(), c.token, 3600); return ok; },
  forget: async () => (await tokens.refresh()) ? ok : {},
  sync: async (c) => {
    const page = await post('cgi-bin/kf/sync_msg', { open_kfid: c.channel, cursor: '' });
    return { ...page, messages: (page.msg_list || []).length };
  },
  reply: (c) => send(c, { msgtype: 'text', text: { content: c.text } }),
  card: (c) => send(c, { msgtype: 'business_card', business_card: { userid: 'zhangsan' } }),
  mass: (c) => post('cgi-bin/externalcontact/add_msg_template', {
    external_userid: [c.customer], sender: 'zhangsan', text: { content: c.text },
  }),
  details: async (c) => {
    const a = (await client.get('cgi-bin/externalcontact/get', { params: { external_userid: c.customer } })).toObject();
    return { ...a, name: (a.external_contact || {}).name };
  },
  upload: async (c) => {
    const form = new FormData();
    form.append('media', Buffer.alloc(c.size, 7), { filename: 'media.bin' });
    return (await client.request('POST', 'cgi-bin/media/upload', { params: { type: 'file' }, data: form })).toObject();
  },
  verify: async (c) => {
    app.setRequest(new ServerRequest('GET', '/wecom?' + c.query));
    const response = await app.getServer().serve();
    return { ...ok, reply: String(response.getBody()) };
  },
  callback: async (c) => {
    app.setRequest(new ServerRequest('POST', '/wecom?' + c.query, { 'content-type': 'text/xml' }, Buffer.from(c.body)));
    let seen = {};
    const server = app.getServer();
    server.with((message, next) => { seen = message; return next(message); });
    const response = await server.serve();
    return { ...ok, event: seen.Event, channel: seen.OpenKfId, reply: String(response.getBody()) };
  },
};

// shown is what the user sees: this client hands back WeCom's answer, refused or not, and throws
// for the rest.
async function shown(command) {
  try {
    const a = await actions[command.do](command);
    return a.errcode ? { ...a, error: a.errmsg } : a;
  } catch (e) {
    return { error: String(e && e.message) };
  }
}

async function main() {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    process.stdout.write(JSON.stringify(await shown(JSON.parse(line))) + '\n');
  }
}

main();
