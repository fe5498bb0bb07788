"""What the one-way scripts for Python share: counting checks, waiting for a condition, the closing line."""
import sys
import time
import traceback

passed = failed = 0


def check(what, got, expected):
    """Counts whether `got` equals `expected`."""
    global passed, failed
    if got == expected:
        passed += 1
    else:
        failed += 1
        print(f"{what}: got {got!r}, expected {expected!r}", flush=True)


def check_raises(what, kind, call):
    """Counts whether `call` fails with an error of `kind`, and gives its text."""
    try:
        call()
    except kind as e:
        check(what, True, True)
        return str(e)
    check(what, "no error", kind.__name__)
    return ""


def eventually(condition, seconds=30):
    """Waits until `condition()` is true; whether it became so."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def run(steps):
    """Runs each step, prints the closing line and exits."""
    global failed
    for step in steps:
        try:
            step()
        except Exception:
            failed += 1
            print(f"{step.__name__}: {traceback.format_exc()}", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)
