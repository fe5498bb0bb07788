// node-redis through the proxy, with RESP 2 or 3.
//
// usage: node node_redis.cjs PORT PROTOCOL
'use strict';
const { createClient } = require('redis');
const { check, checkFails, run } = require('./checks.cjs');

const url = `redis://127.0.0.1:${process.argv[2]}`;
const RESP = Number(process.argv[3]);
const client = createClient({ url, RESP });
client.on('error', (e) => check('no error event', e.message, ''));

async function strings(n) {
  const key = `node:s:${n % 50}`;
  check('set', await client.set(key, `value ${n}`), 'OK');
  check('get', await client.get(key), `value ${n}`);
  check('incrBy', await client.incrBy(`node:n:${n % 50}`, 0) >= 0, true);
  check('del', await client.del(key), 1);
  check('get of nothing', await client.get(key), null);
}

async function severalKeys(n) {
  const keys = Array.from({ length: 30 }, (_, i) => `node:m:${i}`);
  check('mSet', await client.mSet(keys.map((k, i) => [k, `${n}-${i}`])), 'OK');
  check('mGet', await client.mGet([...keys, 'node:none', keys[0]]), [...keys.map((_, i) => `${n}-${i}`), null, `${n}-0`]);
  check('exists', await client.exists([...keys, 'node:none']), 30);
  check('unlink', await client.unlink(keys), 30);
}

async function collections(n) {
  const [h, z, l, s] = ['h', 'z', 'l', 'set'].map((kind) => `node:${kind}:${n % 50}`);
  await client.del([h, z, l, s]);
  check('hSet', await client.hSet(h, { a: n, b: 'two' }), 2);
  check('hGetAll', { ...await client.hGetAll(h) }, { a: `${n}`, b: 'two' });
  check('zAdd', await client.zAdd(z, [{ score: 1, value: 'a' }, { score: 2.5, value: 'b' }]), 2);
  check('zScore', await client.zScore(z, 'b'), 2.5);
  check('rPush', await client.rPush(l, ['a', 'b']), 2);
  check('sAdd', await client.sAdd(s, 'a'), 1);
  check('sMembers', [...await client.sMembers(s)], ['a']);
  check('eval', await client.eval('return {KEYS[1], ARGV[1]}', { keys: [l], arguments: ['x'] }), [l, 'x']);
}

async function pipelines(n) {
  const sets = Array.from({ length: 100 }, (_, i) => client.set(`node:p:${i}`, `${n * i}`));
  check('concurrent sets', await Promise.all(sets), Array(100).fill('OK'));
  const multi = client.multi();
  for (let i = 0; i < 100; i++) multi.get(`node:p:${i}`);
  check('pipeline', await multi.execAsPipeline(), Array.from({ length: 100 }, (_, i) => `${n * i}`));
}

async function errors(n) {
  await client.set(`node:e:${n % 50}`, 'text');
  await checkFails('incr of text', client.incr(`node:e:${n % 50}`), /not an integer/);
  await checkFails('rename over slots', client.rename('node:a', 'node:b'), /^CROSSSLOT/);
  await checkFails('unknown command', client.sendCommand(['NOSUCH', 'a']), /^ERR unknown command 'NOSUCH'/);
}

const subscriber = client.duplicate();
subscriber.on('error', (e) => check('no error event', e.message, ''));
// Of a slot that stays where it is: messages may be lost while a sharded channel moves, as with a server.
const SHARDED = 'node:s:x';
const received = [];
let wake = () => {};
const take = (kind) => (text, channel) => { received.push([kind, channel, text]); wake(); };

async function messages(n) {
  if (n === 0) {
    await subscriber.connect();
    await subscriber.subscribe('node:news', take('message'));
    await subscriber.pSubscribe('node:n?ws', take('pmessage'));
    await subscriber.sSubscribe(SHARDED, take('smessage'));
  }
  await client.publish('node:news', `${n}`);
  await client.sPublish(SHARDED, `${n}`);
  const late = setTimeout(() => wake(), 10000);
  while (received.length < 3 && late._destroyed === false) await new Promise((done) => { wake = done; });
  clearTimeout(late);
  const expected = [['message', 'node:news', `${n}`], ['pmessage', 'node:news', `${n}`], ['smessage', SHARDED, `${n}`]];
  check('messages', received.splice(0).sort(), expected);
  check('ping of a subscriber', (await subscriber.ping()).toLowerCase(), 'pong');
}

async function connections(n) {
  const other = createClient({ url, RESP, name: `node-${n}` });
  await other.connect();
  check('name', await other.clientGetName(), `node-${n}`);
  check('ping', await other.ping(), 'PONG');
  await other.close();
}

(async () => {
  await client.connect();
  await run(async (n) => {
    await strings(n);
    await severalKeys(n);
    await collections(n);
    await pipelines(n);
    await errors(n);
    await messages(n);
    if (n % 20 === 0) await connections(n);
  });
})();
