// The cluster client of ioredis through the proxy, which it takes for a cluster of one node.
//
// usage: node ioredis_cluster.cjs PORT
'use strict';
const Redis = require('ioredis');
const { check, checkFails, run } = require('./checks.cjs');

const port = Number(process.argv[2]);
const connect = (options) => {
  const cluster = new Redis.Cluster([{ host: '127.0.0.1', port }], { slotsRefreshInterval: 200, ...options });
  cluster.on('error', (e) => check('no error event', e.message, ''));
  cluster.on('node error', (e) => check('no node error event', e.message, ''));
  return cluster;
};
const cluster = connect({});
const readers = connect({ scaleReads: 'slave' });

async function topology() {
  await cluster.ping();
  check('nodes', cluster.nodes('all').map((n) => `${n.options.host}:${n.options.port}`), [`127.0.0.1:${port}`]);
  check('masters', cluster.nodes('master').length, 1);
  check('slots', (await cluster.cluster('SLOTS')).map((s) => [s[0], s[1], s[2][0], s[2][1]]), [[0, 16383, '127.0.0.1', port]]);
}

async function work(n) {
  const keys = Array.from({ length: 20 }, (_, i) => `ioc:${n % 50}:${i}`);
  check('sets', await Promise.all(keys.map((k, i) => cluster.set(k, `${n}-${i}`))), keys.map(() => 'OK'));
  check('gets', await Promise.all(keys.map((k) => cluster.get(k))), keys.map((_, i) => `${n}-${i}`));
  const tagged = Array.from({ length: 5 }, (_, i) => `{ioc:${n % 50}}:${i}`);
  check('mset', await cluster.mset(...tagged.flatMap((k, i) => [k, `${i}`])), 'OK');
  check('mget', await cluster.mget(...tagged), ['0', '1', '2', '3', '4']);
  check('del', await cluster.del(...tagged), 5);
  const h = `ioc:h:${n % 50}`;
  await cluster.del(h);
  check('hset', await cluster.hset(h, { a: n, b: 'two' }), 2);
  check('hgetall', await cluster.hgetall(h), { a: `${n}`, b: 'two' });
  check('eval', await cluster.eval('return {KEYS[1], ARGV[1]}', 1, h, 'x'), [h, 'x']);
}

async function pipelines(n) {
  const pipeline = cluster.pipeline();
  for (let i = 0; i < 20; i++) pipeline.set(`{ioc:p}:${i}`, n * i).get(`{ioc:p}:${i}`);
  check('pipeline', await pipeline.exec(), Array.from({ length: 20 }, (_, i) => [[null, 'OK'], [null, `${n * i}`]]).flat());
}

async function errors(n) {
  await cluster.set(`ioc:e:${n % 50}`, 'text');
  await checkFails('incr of text', cluster.incr(`ioc:e:${n % 50}`), /not an integer/);
}

run(async (n) => {
  if (n % 20 === 0) await topology();
  await work(n);
  await pipelines(n);
  await errors(n);
  check('read by a reader', await readers.get(`ioc:e:${n % 50}`), 'text');
});
