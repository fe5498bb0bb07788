"""Celery through the proxy, as broker and as result backend: a worker and tasks with results.

usage: celery_jobs.py PORT

The broker's keys get a hash tag, because kombu changes several of them in one transaction. The results need none.
"""
import sys

from celery import Celery, group
from celery.contrib.testing.worker import start_worker

from checks import check, check_raises, run

url = f"redis://127.0.0.1:{sys.argv[1]}/0"
app = Celery("apps", broker=url, backend=url)
app.conf.update(
    broker_transport_options={"global_keyprefix": "{celery}"},
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
)


@app.task
def add(a, b):
    return a + b


@app.task
def fail():
    raise ValueError("as asked")


@app.task(bind=True, max_retries=3)
def succeed_at_last(self):
    if self.request.retries < 2:
        raise self.retry(countdown=0)
    return self.request.retries


def tasks():
    with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
        results = [add.delay(i, i) for i in range(20)]
        check("results", [x.get(timeout=30) for x in results], [2 * i for i in range(20)])
        check("all succeeded", {x.status for x in results}, {"SUCCESS"})
        check_raises("failure", ValueError, lambda: fail.delay().get(timeout=30))
        check("retried", succeed_at_last.delay().get(timeout=30), 2)
        check("delayed", add.apply_async((1, 1), countdown=0.3).get(timeout=30), 2)
        check("group", group(add.s(i, 1) for i in range(10))().get(timeout=30), list(range(1, 11)))
        check("chain", (add.s(1, 1) | add.s(2)).delay().get(timeout=30), 4)


run([tasks])
