// Bee-Queue, with the client library of its own (node_redis 3), through the proxy: jobs, retries, delays, progress, events.
//
// usage: node bee_queue.cjs PORT
//
// Leans on BRPOPLPUSH, Lua scripts, MULTI and pub/sub; a hash tag keeps its keys together.
'use strict';
const Queue = require('bee-queue');
const { check, once } = require('./checks.cjs');

const options = { prefix: '{bee}', redis: { host: '127.0.0.1', port: Number(process.argv[2]) }, activateDelayedJobs: true };
const jobs = new Queue('jobs', { ...options, isWorker: false });
const worker = new Queue('jobs', options);
worker.on('error', (e) => check('no error event', e.message, ''));

const ended = (job) => new Promise((done) => {
  job.on('succeeded', (result) => done(result));
  job.on('failed', (e) => done(e.message));
});

// Saves a job only when its end is listened for.
async function run(job) {
  const end = ended(job);
  await job.save();
  return end;
}

async function batch() {
  const failed = new Map();
  worker.process(5, async (job) => {
    const { a, b, fails = 0, report } = job.data;
    const count = failed.get(job.id) || 0;
    if (count < fails) {
      failed.set(job.id, count + 1);
      throw new Error(`failure ${count + 1}`);
    }
    if (report) job.reportProgress({ half: a });
    return a + b;
  });
  const results = await Promise.all(Array.from({ length: 100 }, (_, i) => run(jobs.createJob({ a: i, b: i }))));
  check('results', results, results.map((_, i) => 2 * i));
  check('after two failures', await run(jobs.createJob({ a: 1, b: 1, fails: 2 }).retries(2).backoff('fixed', 20)), 2);
  check('given up', await run(jobs.createJob({ a: 1, b: 1, fails: 9 })), 'failure 1');
  const reporting = jobs.createJob({ a: 3, b: 4, report: true });
  const progress = new Promise((done) => reporting.on('progress', done));
  check('with progress', await run(reporting), 7);
  check('the progress', await progress, { half: 3 });
  const start = Date.now();
  check('delayed', await run(jobs.createJob({ a: 20, b: 22 }).delayUntil(start + 500)), 42);
  check('not too early', Date.now() - start >= 450, true);
}

async function health() {
  const { waiting, active, succeeded, failed, delayed } = await jobs.checkHealth();
  check('health', { waiting, active, succeeded, failed, delayed }, { waiting: 0, active: 0, succeeded: 103, failed: 1, delayed: 0 });
  const [job] = await jobs.getJobs('failed', { start: 0, end: 10 });
  check('the failed one', [job.status, job.data.fails], ['failed', 9]);
  await job.remove();
  check('removed', (await jobs.checkHealth()).failed, 0);
  await worker.close();
  await jobs.close();
}

once([batch, health]);
