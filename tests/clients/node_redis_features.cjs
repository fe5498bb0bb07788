// node-redis through the proxy, with RESP 2 or 3: what the library builds on top of single commands.
//
// usage: node node_redis_features.cjs PORT PROTOCOL
'use strict';
const { BasicClientSideCache, createClient, createClientPool, defineScript, WatchError } = require('redis');
const { check, checkFails, once, waitFor } = require('./checks.cjs');

const both = defineScript({
  NUMBER_OF_KEYS: 1,
  SCRIPT: "redis.call('SET', KEYS[1], ARGV[1]) return {KEYS[1], ARGV[1]}",
  parseCommand(parser, key, value) {
    parser.pushKey(key);
    parser.push(value);
  },
  transformReply: (reply) => reply,
});
const options = { url: `redis://127.0.0.1:${process.argv[2]}`, RESP: Number(process.argv[3]), scripts: { both } };
const client = watchErrors(createClient(options));

function watchErrors(made) {
  return made.on('error', (e) => check('no error event', e.message, ''));
}

async function another() {
  const made = watchErrors(client.duplicate());
  await made.connect();
  return made;
}

async function multi() {
  await client.connect();
  check('multi', await client.multi().set('{m}:a', 1).incr('{m}:a').get('{m}:a').exec(), ['OK', 2, '2']);
  await checkFails('multi over slots', client.multi().set('one', 1).set('two', 2).exec(), /CROSSSLOT|EXECABORT/);
  const other = await another();
  await other.watch('{m}:a');
  await client.set('{m}:a', 'changed');
  const error = await other.multi().set('{m}:a', 'mine').exec().catch((e) => e);
  check('a watched key was changed', error instanceof WatchError, true);
  await other.close();
  const pool = await createClientPool(options, { maximum: 4 }).connect();
  await pool.set('{m}:n', 0);
  await Promise.all(Array.from({ length: 50 }, () => pool.incr('{m}:n')));
  check('a pool', await pool.get('{m}:n'), '50');
  await pool.close();
}

async function subscriptions() {
  const subscriber = await another();
  const texts = [];
  const patterns = [];
  await subscriber.subscribe('node:a', (text) => texts.push(text));
  await subscriber.pSubscribe('node:*', (text, channel) => patterns.push(channel));
  for (let i = 0; i < 50; i++) await client.publish('node:a', `${i}`);
  await waitFor('messages', () => texts.length === 50 && patterns.length === 50);
  check('messages in order', texts, Array.from({ length: 50 }, (_, i) => `${i}`));
  await subscriber.unsubscribe('node:a');
  await subscriber.pUnsubscribe('node:*');
  // With RESP 2 the library gives buffers from now on, whatever server it talks to.
  check('commands afterwards', `${await subscriber.set('node:x', 1)}`, 'OK');
  await subscriber.close();
}

async function autopipelining() {
  await Promise.all(Array.from({ length: 500 }, (_, i) => client.set(`auto:${i}`, `${i}`)));
  const got = await Promise.all(Array.from({ length: 500 }, (_, i) => client.get(`auto:${i}`)));
  check('commands of one tick', got, Array.from({ length: 500 }, (_, i) => `${i}`));
}

async function blocking() {
  const waiter = await another();
  const popped = (async () => {
    const all = [];
    for (let i = 0; i < 20; i++) all.push((await waiter.blPop('block:node', 10)).element);
    return all;
  })();
  for (let i = 0; i < 20; i++) await client.rPush('block:node', `${i}`);
  check('blPop', await popped, Array.from({ length: 20 }, (_, i) => `${i}`));
  check('timeout', await waiter.brPop('block:none', 0.05), null);
  await client.xGroupCreate('block:stream', 'g', '0', { MKSTREAM: true });
  const read = waiter.xReadGroup('g', 'c', { key: 'block:stream', id: '>' }, { BLOCK: 10000 });
  await client.xAdd('block:stream', '1-1', { f: 'v' });
  check('xReadGroup', JSON.stringify(await read).includes('"1-1"'), true);
  check('xAck', await client.xAck('block:stream', 'g', '1-1'), 1);
  await waiter.close();
}

async function scripts() {
  for (let i = 0; i < 30; i++) check('defineScript', await client.both(`lua:${i}`, `${i}`), [`lua:${i}`, `${i}`]);
  const lua = 'return ARGV[1]';
  const sha = await client.scriptLoad(lua);
  check('evalSha', await client.evalSha(sha, { keys: ['lua:x'], arguments: ['y'] }), 'y');
}

async function scans() {
  const keys = Array.from({ length: 1000 }, (_, i) => `scan:node:${i}`);
  await client.mSet(keys.map((k) => [k, '1']));
  const seen = new Set();
  for await (const some of client.scanIterator({ MATCH: 'scan:node:*', COUNT: 100 })) some.forEach((k) => seen.add(k));
  check('scanIterator', [...seen].sort(), keys.sort());
  const members = new Set();
  await client.sAdd('scan:set', keys);
  for await (const some of client.sScanIterator('scan:set')) some.forEach((m) => members.add(m));
  check('sScanIterator', members.size, 1000);
}

// The library keeps copies of what it reads, and the server tells when they are old.
async function caching() {
  if (options.RESP !== 3) return;
  const cache = new BasicClientSideCache({ maxEntries: 1000 });
  const reader = watchErrors(createClient({ ...options, clientSideCache: cache }));
  await reader.connect();
  const keys = Array.from({ length: 100 }, (_, i) => `cached:${i}`);
  for (const key of keys) await client.set(key, 'old');
  for (let i = 0; i < 3; i++) for (const key of keys) check('first value', await reader.get(key), 'old');
  check('hits', cache.stats().hitCount, 200);
  for (const key of keys) await client.set(key, 'new');
  for (const key of keys) {
    const isNew = async () => (await reader.get(key)) === 'new';
    for (let i = 0; i < 100 && !(await isNew()); i++) await new Promise((done) => setTimeout(done, 10));
    check('second value', await reader.get(key), 'new');
  }
  await reader.close();
}

async function ends() {
  await client.close();
}

once([multi, subscriptions, autopipelining, blocking, scripts, scans, caching, ends]);
