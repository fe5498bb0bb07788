// ioredis through the proxy: what the library builds on top of single commands.
//
// usage: node ioredis_features.cjs PORT
'use strict';
const Redis = require('ioredis');
const { check, checkFails, once, waitFor } = require('./checks.cjs');

const options = { port: Number(process.argv[2]), host: '127.0.0.1' };
const redis = connect();

function connect(more) {
  const made = new Redis({ ...options, ...more });
  made.on('error', (e) => check('no error event', e.message, ''));
  return made;
}

async function multi() {
  const done = await redis.multi().set('{m}:a', 1).incr('{m}:a').get('{m}:a').exec();
  check('multi', done, [[null, 'OK'], [null, 2], [null, '2']]);
  await redis.multi({ pipeline: false });
  check('queued', await redis.set('{m}:b', 1), 'QUEUED');
  check('exec', await redis.exec(), [[null, 'OK']]);
  await checkFails('multi over slots', redis.multi().set('one', 1).set('two', 2).exec(), /CROSSSLOT|EXECABORT/);
  await redis.watch('{m}:a');
  await connectAndDo((other) => other.set('{m}:a', 'changed'));
  check('a watched key was changed', await redis.multi().set('{m}:a', 'mine').exec(), null);
}

async function connectAndDo(work) {
  const other = connect();
  await work(other);
  await other.quit();
}

async function subscriptions() {
  const subscriber = connect();
  const got = [];
  subscriber.on('message', (channel, text) => got.push([channel, text]));
  subscriber.on('pmessage', (pattern, channel, text) => got.push([pattern, channel, text]));
  check('subscribe', await subscriber.subscribe('feature:a', 'feature:b'), 2);
  check('psubscribe', await subscriber.psubscribe('feature:*'), 3);
  for (let i = 0; i < 50; i++) await redis.publish('feature:a', `${i}`);
  await waitFor('messages', () => got.length === 100);
  check('messages in order', got.filter((m) => m.length === 2).map((m) => m[1]), Array.from({ length: 50 }, (_, i) => `${i}`));
  await checkFails('no commands meanwhile', subscriber.get('x'), /subscriber mode/);
  check('unsubscribe', await subscriber.unsubscribe('feature:a', 'feature:b'), 1);
  check('punsubscribe', await subscriber.punsubscribe(), 0);
  check('commands afterwards', await subscriber.set('feature:x', 1), 'OK');
  await subscriber.quit();
}

async function autopipelining() {
  const auto = connect({ enableAutoPipelining: true });
  await Promise.all(Array.from({ length: 200 }, (_, i) => auto.set(`auto:${i}`, i)));
  const got = await Promise.all(Array.from({ length: 200 }, (_, i) => auto.get(`auto:${i}`)));
  check('autopipelining', got, Array.from({ length: 200 }, (_, i) => `${i}`));
  await auto.quit();
}

async function blocking() {
  const waiter = connect();
  const popped = (async () => {
    const all = [];
    for (let i = 0; i < 20; i++) all.push((await waiter.blpop('block:io', 10))[1]);
    return all;
  })();
  for (let i = 0; i < 20; i++) await redis.rpush('block:io', i);
  check('blpop', await popped, Array.from({ length: 20 }, (_, i) => `${i}`));
  check('timeout', await waiter.brpop('block:none', 0.05), null);
  const read = waiter.xread('BLOCK', 10000, 'STREAMS', 'block:stream', '0');
  await redis.xadd('block:stream', '1-1', 'f', 'v');
  check('xread', await read, [['block:stream', [['1-1', ['f', 'v']]]]]);
  await waiter.quit();
}

async function scripts() {
  redis.defineCommand('both', { numberOfKeys: 1, lua: "redis.call('SET', KEYS[1], ARGV[1]) return {KEYS[1], ARGV[1]}" });
  for (let i = 0; i < 30; i++) check('defineCommand', await redis.both(`lua:${i}`, i), [`lua:${i}`, `${i}`]);
  const pipeline = redis.pipeline();
  for (let i = 0; i < 30; i++) pipeline.both(`lua:${i}`, 'p');
  check('in a pipeline', (await pipeline.exec()).every(([e, v]) => e === null && v[1] === 'p'), true);
}

async function scans() {
  const keys = Array.from({ length: 1000 }, (_, i) => `scan:io:${i}`);
  await redis.mset(keys.flatMap((k) => [k, 1]));
  const seen = new Set();
  for await (const some of redis.scanStream({ match: 'scan:io:*', count: 100 })) some.forEach((k) => seen.add(k));
  check('scanStream', [...seen].sort(), keys.sort());
  await redis.hset('scan:hash', Object.fromEntries(keys.map((k) => [k, 1])));
  const fields = new Set();
  for await (const some of redis.hscanStream('scan:hash')) some.forEach((f, i) => { if (i % 2 === 0) fields.add(f); });
  check('hscanStream', fields.size, 1000);
}

async function ends() {
  await redis.quit();
}

once([multi, subscriptions, autopipelining, blocking, scripts, scans, ends]);
