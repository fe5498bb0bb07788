// What the scripts for node share: counting checks, going on until standard input ends, the closing line.
'use strict';
const assert = require('node:assert');

let passed = 0;
let failed = 0;
let stopped = false;

process.stdin.on('end', () => { stopped = true; }).on('error', () => { stopped = true; }).resume();

// Counts whether `got` equals `expected` in every detail.
function check(what, got, expected) {
  try {
    assert.deepStrictEqual(got, expected);
    passed++;
  } catch {
    failed++;
    console.log(`${what}: got ${JSON.stringify(got)}, expected ${JSON.stringify(expected)}`);
  }
}

// Counts whether `promise` fails with a text that matches.
async function checkFails(what, promise, pattern) {
  let text = 'no error';
  try {
    await promise;
  } catch (e) {
    text = e.message;
  }
  check(what, pattern.test(text) ? '' : text, '');
}

// Runs `round(n)` over and over until standard input ends, then prints the closing line and exits.
async function run(round) {
  let n = 0;
  try {
    while (!stopped && failed < 20) {
      await round(n++);
      console.log(`done ${passed}`);
    }
  } catch (e) {
    failed++;
    console.log(`round ${n - 1}: ${e.stack}`);
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
  setTimeout(() => process.exit(), 100);
}

// Runs each step once, then prints the closing line and exits.
async function once(steps) {
  for (const step of steps) {
    try {
      await step();
    } catch (e) {
      failed++;
      console.log(`${step.name}: ${e.stack}`);
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed ? 1 : 0;
  setTimeout(() => process.exit(), 100);
}

// Waits until `condition()` is true and counts whether it became so.
async function waitFor(what, condition) {
  const end = Date.now() + 10000;
  while (!condition() && Date.now() < end) await new Promise((done) => { setTimeout(done, 10); });
  check(what, condition(), true);
}

module.exports = { check, checkFails, once, run, waitFor };
