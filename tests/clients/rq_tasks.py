"""The jobs that rq_jobs.py enqueues; the worker imports them by name."""


def add(a, b):
    return a + b


def fail():
    raise ValueError("as asked")
