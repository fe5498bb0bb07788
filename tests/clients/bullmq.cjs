// BullMQ through the proxy: 100 jobs, some delayed, some that fail twice before they succeed, with events.
//
// usage: node bullmq.cjs PORT
//
// The prefix is a hash tag, because the scripts of BullMQ use several keys of one queue.
'use strict';
const { Queue, Worker, QueueEvents, FlowProducer } = require('bullmq');
const { check, once } = require('./checks.cjs');

const connection = { host: '127.0.0.1', port: Number(process.argv[2]), maxRetriesPerRequest: null };
const options = { connection, prefix: '{bull}' };
const JOBS = 100;
const isDelayed = (i) => i % 10 === 3;
const isFailing = (i) => i % 10 === 7;

const finished = (events, count) => new Promise((done) => {
  let left = count;
  events.on('completed', () => { if (--left === 0) done('all'); });
});

async function batch() {
  const queue = new Queue('jobs', options);
  const events = new QueueEvents('jobs', options);
  await events.waitUntilReady();
  const end = finished(events, JOBS);
  let attempts = 0;
  const worker = new Worker('jobs', async (job) => {
    attempts++;
    if (isFailing(job.data.n) && job.attemptsMade < 2) throw new Error('as asked');
    await job.updateProgress(50);
    return job.data.n * 2;
  }, { ...options, concurrency: 5 });
  worker.on('error', (e) => check('no error event', e.message, ''));
  const jobs = await queue.addBulk(Array.from({ length: JOBS }, (_, n) => ({
    name: 'double',
    data: { n },
    opts: { attempts: 3, backoff: { type: 'fixed', delay: 20 }, delay: isDelayed(n) ? 300 : 0 },
  })));
  const late = new Promise((done) => { setTimeout(() => done('late'), 30000).unref(); });
  check('all jobs complete', await Promise.race([end, late]), 'all');
  const states = await Promise.all(jobs.map((j) => j.getState()));
  check('states', states.filter((s) => s === 'completed').length, JOBS);
  check('attempts', attempts, JOBS + 2 * jobs.filter((j) => isFailing(j.data.n)).length);
  check('result', (await queue.getJob(jobs[7].id)).returnvalue, 14);
  check('counts', await queue.getJobCounts('completed', 'failed', 'waiting', 'delayed'),
    { completed: JOBS, failed: 0, waiting: 0, delayed: 0 });
  const waited = await queue.add('double', { n: 21 });
  check('waitUntilFinished', await waited.waitUntilFinished(events, 10000), 42);
  await worker.close();
  await queue.obliterate({ force: true });
  check('obliterated', await queue.count(), 0);
  await events.close();
  await queue.close();
}

async function flow() {
  const events = new QueueEvents('flow', options);
  await events.waitUntilReady();
  const worker = new Worker('flow', async (job) => {
    if (job.name === 'child') return job.data.n;
    return Object.values(await job.getChildrenValues()).reduce((a, b) => a + b, 0);
  }, options);
  const flows = new FlowProducer(options);
  const children = [1, 2, 3].map((n) => ({ name: 'child', queueName: 'flow', data: { n } }));
  const { job } = await flows.add({ name: 'parent', queueName: 'flow', children });
  check('a parent waits for its children', await job.waitUntilFinished(events, 10000), 6);
  await worker.close();
  await flows.close();
  await events.close();
}

once([batch, flow]);
