// A web shop with sessions (express-session, connect-redis) that lets nobody in a hurry in (rate-limiter-flexible).
//
// usage: node sessions.cjs PORT
//
// Leans on SCAN and MGET for all sessions, SET with EX, and limiters by Lua, and by MULTI.
'use strict';
const { RedisStore } = require('connect-redis');
const express = require('express');
const session = require('express-session');
const Redis = require('ioredis');
const { RateLimiterRedis, RateLimiterQueue, BurstyRateLimiter } = require('rate-limiter-flexible');
const { createClient } = require('redis');
const { check, once } = require('./checks.cjs');

const port = Number(process.argv[2]);
const client = createClient({ url: `redis://127.0.0.1:${port}` });
client.on('error', (e) => check('no error event', e.message, ''));
const limits = new Redis({ port, enableOfflineQueue: false, lazyConnect: true });
const store = new RedisStore({ client, prefix: 'sess:' });

function serve() {
  const app = express();
  app.use(session({ store, secret: 'for a test', resave: false, saveUninitialized: false, cookie: { maxAge: 60000 } }));
  app.get('/buy', (request, response) => {
    request.session.bought = (request.session.bought || 0) + 1;
    response.json(request.session.bought);
  });
  app.get('/leave', (request, response) => request.session.destroy((e) => response.json(e || 'left')));
  return new Promise((done) => { const server = app.listen(0, '127.0.0.1', () => done(server)); });
}

const callback = (call) => new Promise((done, fail) => call((e, value) => (e ? fail(e) : done(value))));

async function shop() {
  await client.connect();
  await limits.connect();
  const servers = [await serve(), await serve()];
  const ask = async (i, path, cookie) => {
    const { port: at } = servers[i % 2].address();
    const response = await fetch(`http://127.0.0.1:${at}/${path}`, { headers: cookie ? { cookie } : {} });
    const [given] = (response.headers.get('set-cookie') || '').split(';');
    return [await response.json(), given || cookie];
  };
  const cookies = [];
  for (let visitor = 0; visitor < 20; visitor++) {
    let [count, cookie] = await ask(0, 'buy');
    for (let i = 1; i < 4; i++) [count, cookie] = await ask(i, 'buy', cookie);
    check('bought, from either server', count, 4);
    cookies.push(cookie);
  }
  check('sessions', await callback((c) => store.length(c)), 20);
  const all = await callback((c) => store.all(c));
  check('all of them', all.map((s) => s.bought), Array(20).fill(4));
  check('left', (await ask(1, 'leave', cookies[0]))[0], 'left');
  check('begun anew', (await ask(0, 'buy', cookies[0]))[0], 1);
  check('they expire', await client.ttl(`sess:${all[0].id}`) > 0, true);
  await callback((c) => store.clear(c));
  check('cleared', await callback((c) => store.length(c)), 0);
  servers.forEach((s) => { s.closeAllConnections(); s.close(); });
}

async function hurry() {
  for (const [name, options] of [['ioredis', { storeClient: limits }], ['redis', { storeClient: client, useRedisPackage: true }]]) {
    const limiter = new RateLimiterRedis({ ...options, keyPrefix: name, points: 5, duration: 60, blockDuration: 60 });
    const let_in = await Promise.allSettled(Array.from({ length: 20 }, () => limiter.consume('someone')));
    check(`${name}: five at once`, let_in.filter((r) => r.status === 'fulfilled').length, 5);
    check(`${name}: counted`, (await limiter.get('someone')).remainingPoints, 0);
    await limiter.delete('someone');
    check(`${name}: from the start`, (await limiter.consume('someone', 2)).remainingPoints, 3);
    check(`${name}: a reward`, (await limiter.reward('someone', 1)).remainingPoints, 4);
  }
  const slow = new RateLimiterRedis({ storeClient: limits, keyPrefix: 'slow', points: 2, duration: 1 });
  const burst = new RateLimiterRedis({ storeClient: limits, keyPrefix: 'burst', points: 3, duration: 60 });
  const bursty = new BurstyRateLimiter(slow, burst);
  const got = await Promise.allSettled(Array.from({ length: 8 }, () => bursty.consume('someone')));
  check('two, and three more', got.filter((r) => r.status === 'fulfilled').length, 5);
  const queue = new RateLimiterQueue(new RateLimiterRedis({ storeClient: limits, keyPrefix: 'queue', points: 2, duration: 1 }));
  const start = Date.now();
  await Promise.all(Array.from({ length: 4 }, () => queue.removeTokens(1, 'someone')));
  check('the queue waits for the next window', Date.now() - start >= 500, true);
  await limits.quit();
  await client.close();
}

once([shop, hurry]);
