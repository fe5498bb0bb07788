// Two socket.io servers with the Redis adapter behind the proxy: rooms, acknowledgements and questions among servers.
//
// usage: node socket_io.cjs PORT
//
// Leans on patterns, many channels on one connection, PUBSUB NUMSUB to know how many servers there are.
'use strict';
const { createServer } = require('node:http');
const { createAdapter } = require('@socket.io/redis-adapter');
const { createClient } = require('redis');
const { Server } = require('socket.io');
const { io } = require('socket.io-client');
const { check, once } = require('./checks.cjs');

const USERS = 20;
const clients = [];
const servers = [];
const users = [];

async function serve() {
  const pub = createClient({ url: `redis://127.0.0.1:${process.argv[2]}` });
  const sub = pub.duplicate();
  for (const c of [pub, sub]) {
    c.on('error', (e) => check('no error event', e.message, ''));
    await c.connect();
    clients.push(c);
  }
  const http = createServer();
  const server = new Server(http, { adapter: createAdapter(pub, sub, { requestsTimeout: 10000 }) });
  server.on('connection', (socket) => socket.join(`room ${socket.handshake.auth.number % 3}`));
  server.on('sum', (a, b, reply) => reply(a + b));
  await new Promise((done) => http.listen(0, '127.0.0.1', done));
  servers.push({ http, server });
}

async function connect() {
  await serve();
  await serve();
  for (let number = 0; number < USERS; number++) {
    const { port } = servers[number % 2].http.address();
    const user = io(`http://127.0.0.1:${port}`, { auth: { number }, transports: ['websocket'] });
    user.heard = [];
    user.on('news', (text) => user.heard.push(text));
    user.on('question', (reply) => reply(number));
    users.push(user);
    if (!user.connected) await new Promise((done) => user.once('connect', done));
  }
  const seen = await servers[0].server.fetchSockets();
  check('one server sees the users of both', seen.length, USERS);
}

async function rooms() {
  const [first, second] = servers.map((s) => s.server);
  const answers = (server, room) => server.timeout(10000).to(room).emitWithAck('question');
  for (let room = 0; room < 3; room++) {
    const expected = users.map((_, i) => i).filter((i) => i % 3 === room);
    const got = await answers(room % 2 ? first : second, `room ${room}`);
    check(`everybody in room ${room} answers`, got.sort((a, b) => a - b), expected);
  }
  for (let i = 0; i < 50; i++) first.to('room 1').emit('news', i);
  // What is sent on one channel comes in order, so the answers come behind the news.
  await answers(first, 'room 1');
  const all = Array.from({ length: 50 }, (_, i) => i);
  users.forEach((user, i) => check(`user ${i}`, user.heard, i % 3 === 1 ? all : []));
}

async function among_servers() {
  const [first, second] = servers.map((s) => s.server);
  check('the other server answers', await first.serverSideEmitWithAck('sum', 20, 22), [42]);
  await second.in('room 0').socketsJoin('moved');
  const moved = users.filter((_, i) => i % 3 === 0).length;
  const end = Date.now() + 10000;
  const joined = async () => (await first.in('moved').fetchSockets()).length;
  while (await joined() < moved && Date.now() < end);
  check('made to join by the other server', await joined(), moved);
  second.disconnectSockets(true);
  await Promise.all(users.map((u) => u.disconnected || new Promise((done) => u.once('disconnect', done))));
  check('all are gone', (await first.fetchSockets()).length, 0);
}

async function close() {
  users.forEach((u) => u.close());
  for (const { server } of servers) await server.close();
  await Promise.all(clients.map((c) => c.close()));
}

once([connect, rooms, among_servers, close]);
