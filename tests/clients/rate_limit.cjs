// express-rate-limit with its Redis store, rate-limit-redis, through the proxy: a web server that counts its visitors.
//
// usage: node rate_limit.cjs PORT
'use strict';
const express = require('express');
const { rateLimit } = require('express-rate-limit');
const { RedisStore } = require('rate-limit-redis');
const { createClient } = require('redis');
const { check, once } = require('./checks.cjs');

const client = createClient({ url: `redis://127.0.0.1:${process.argv[2]}` });
client.on('error', (e) => check('no error event', e.message, ''));

// A server of its own, as one of several that share their counts.
function serve() {
  const app = express();
  app.use(rateLimit({
    windowMs: 60000,
    limit: 5,
    standardHeaders: 'draft-7',
    legacyHeaders: false,
    keyGenerator: (request) => request.get('visitor'),
    store: new RedisStore({ sendCommand: (...args) => client.sendCommand(args) }),
  }));
  app.get('/', (_, response) => response.send('hello'));
  return new Promise((done) => { const server = app.listen(0, '127.0.0.1', () => done(server)); });
}

const ask = async (server, visitor) =>
  (await fetch(`http://127.0.0.1:${server.address().port}/`, { headers: { visitor } })).status;

async function limits() {
  await client.connect();
  const servers = [await serve(), await serve()];
  for (let v = 0; v < 20; v++) {
    const seen = [];
    for (let i = 0; i < 8; i++) seen.push(await ask(servers[i % 2], `visitor ${v}`));
    check('five are let in, by either server', seen, [200, 200, 200, 200, 200, 429, 429, 429]);
  }
  const many = await Promise.all(Array.from({ length: 30 }, () => ask(servers[0], 'in a hurry')));
  check('so are five at once', many.filter((s) => s === 200).length, 5);
  check('keys expire', await client.ttl('rl:visitor 0') > 0, true);
  servers.forEach((s) => { s.closeAllConnections(); s.close(); });
  await client.close();
}

once([limits]);
