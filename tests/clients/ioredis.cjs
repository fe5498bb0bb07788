// ioredis through the proxy, with its defaults: ready check by INFO, offline queue, automatic reconnect.
//
// usage: node ioredis.cjs PORT
'use strict';
const Redis = require('ioredis');
const { check, checkFails, run } = require('./checks.cjs');

const port = Number(process.argv[2]);
const redis = new Redis(port, '127.0.0.1');
redis.on('error', (e) => check('no error event', e.message, ''));

async function strings(n) {
  const key = `io:s:${n % 50}`;
  check('set', await redis.set(key, `value ${n}`), 'OK');
  check('get', await redis.get(key), `value ${n}`);
  check('getBuffer', await redis.getBuffer(key), Buffer.from(`value ${n}`));
  check('set nx', await redis.set(key, 'x', 'NX'), null);
  check('del', await redis.del(key), 1);
  check('get of nothing', await redis.get(key), null);
}

async function severalKeys(n) {
  const keys = Array.from({ length: 30 }, (_, i) => `io:m:${i}`);
  check('mset', await redis.mset(...keys.flatMap((k, i) => [k, `${n}-${i}`])), 'OK');
  check('mget', await redis.mget(...keys, 'io:none', keys[0]), [...keys.map((_, i) => `${n}-${i}`), null, `${n}-0`]);
  check('exists', await redis.exists(...keys, 'io:none'), 30);
  check('unlink', await redis.unlink(...keys), 30);
}

async function collections(n) {
  const [h, z, l] = ['h', 'z', 'l'].map((kind) => `io:${kind}:${n % 50}`);
  await redis.del(h, z, l);
  check('hset', await redis.hset(h, { a: n, b: 'two' }), 2);
  check('hgetall', await redis.hgetall(h), { a: `${n}`, b: 'two' });
  check('zadd', await redis.zadd(z, 1, 'a', 2.5, 'b'), 2);
  check('zrange', await redis.zrange(z, 0, -1, 'WITHSCORES'), ['a', '1', 'b', '2.5']);
  check('rpush', await redis.rpush(l, 'a', 'b'), 2);
  check('eval', await redis.eval('return {KEYS[1], ARGV[1]}', 1, l, 'x'), [l, 'x']);
}

async function pipelines(n) {
  const pipeline = redis.pipeline();
  for (let i = 0; i < 100; i++) pipeline.set(`io:p:${i}`, n * i).get(`io:p:${i}`);
  check('pipeline', await pipeline.exec(), Array.from({ length: 100 }, (_, i) => [[null, 'OK'], [null, `${n * i}`]]).flat());
  const all = await Promise.all(Array.from({ length: 50 }, (_, i) => redis.get(`io:p:${i}`)));
  check('concurrent gets', all, Array.from({ length: 50 }, (_, i) => `${n * i}`));
}

async function errors(n) {
  await redis.set(`io:e:${n % 50}`, 'text');
  await checkFails('incr of text', redis.incr(`io:e:${n % 50}`), /not an integer/);
  await checkFails('rename over slots', redis.rename('io:a', 'io:b'), /^CROSSSLOT/);
  await checkFails('unknown command', redis.call('NOSUCH', 'a'), /^ERR unknown command 'NOSUCH', with args beginning with: 'a'/);
}

const subscriber = new Redis(port, '127.0.0.1');
const received = [];
let wake = () => {};
subscriber.on('message', (channel, text) => { received.push([channel, text]); wake(); });
subscriber.on('pmessage', (pattern, channel, text) => { received.push([pattern, channel, text]); wake(); });

async function messages(n) {
  if (n === 0) {
    check('subscribe', await subscriber.subscribe('io:news', 'io:other'), 2);
    check('psubscribe', await subscriber.psubscribe('io:n?ws'), 3);
  }
  await redis.publish('io:news', `${n}`);
  const late = setTimeout(() => wake(), 10000);
  while (received.length < 2 && late._destroyed === false) await new Promise((done) => { wake = done; });
  clearTimeout(late);
  check('messages', received.splice(0), [['io:news', `${n}`], ['io:n?ws', 'io:news', `${n}`]]);
  check('ping of a subscriber', await subscriber.ping(), ['pong', '']);
  if (n % 20 === 19) {
    check('unsubscribe', await subscriber.unsubscribe('io:other'), 2);
    check('subscribe again', await subscriber.subscribe('io:other'), 3);
  }
}

async function connections(n) {
  const other = new Redis({ port, connectionName: `io-${n}`, lazyConnect: true });
  await other.connect();
  check('name', await other.client('GETNAME'), `io-${n}`);
  check('quit', await other.quit(), 'OK');
}

run(async (n) => {
  await strings(n);
  await severalKeys(n);
  await collections(n);
  await pipelines(n);
  await errors(n);
  await messages(n);
  if (n % 20 === 0) await connections(n);
});
