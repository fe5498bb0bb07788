"""RQ through the proxy: a batch of jobs and a worker that ends when all is done.

usage: rq_jobs.py PORT

All keys get a hash tag, because RQ changes several of them in one transaction.
"""
import os
import sys

os.environ["RQ_KEY_PREFIX"] = "{rq}"

import redis
from rq import Queue, Retry, SimpleWorker
from rq.job import Job, JobStatus

import rq_tasks
from checks import check, run

r = redis.Redis(port=int(sys.argv[1]))
queue = Queue("jobs", connection=r)


def burst():
    SimpleWorker([queue], connection=r).work(burst=True, with_scheduler=False, logging_level="WARNING")


def batch():
    jobs = [queue.enqueue(rq_tasks.add, i, i) for i in range(20)]
    check("waiting", len(queue), 20)
    burst()
    check("results", [j.return_value() for j in jobs], [2 * i for i in range(20)])
    check("finished", queue.finished_job_registry.count, 20)
    check("none waits", len(queue), 0)


def failures():
    job = queue.enqueue(rq_tasks.fail, retry=Retry(max=2))
    burst()
    check("failed", job.get_status(refresh=True), JobStatus.FAILED)
    check("retried", Job.fetch(job.id, connection=r).retries_left, 0)
    check("registry", queue.failed_job_registry.get_job_ids(), [job.id])
    job.delete()
    check("deleted", Job.exists(job.id, connection=r), False)


def dependencies():
    first = queue.enqueue(rq_tasks.add, 1, 1)
    second = queue.enqueue(rq_tasks.add, 2, 2, depends_on=first)
    check("deferred", second.get_status(), JobStatus.DEFERRED)
    burst()
    check("both done", [first.return_value(), second.return_value()], [2, 4])
    check("empty", queue.empty(), 0)


run([batch, failures, dependencies])
