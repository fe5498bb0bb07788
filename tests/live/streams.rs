//! Values of 512 MiB in both directions: memory of the proxy, and what other clients of the same node notice.

use std::io::Read;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use crate::fixture;
use crate::support::frame::request;
use crate::support::wait::{let_pass, timed};
use crate::support::{Proxy, RawClient};

/// The largest value that there is.
const LARGE: usize = 512 << 20;

/// What a transfer may add to the memory of the proxy.
const MOST_GROWTH_KIB: u64 = 16 * 1024;

/// One at a time: such a value takes a while and a lot of memory of the node.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|e| e.into_inner())
}

/// A proxy of its own that has served small requests for a while.
fn proxy() -> Proxy {
    let proxy = Proxy::start(&fixture().cluster, &["-max-procs", "1"]);
    let mut c = proxy.client();
    (0..1000).for_each(|_| assert_eq!(c.call(&["SET", "{streams}small", "1"]), b"+OK\r\n"));
    proxy
}

/// Small requests for the node that has the large value, one after the other, while `action` runs. Returns how long each
/// took, shortest first.
fn beside(proxy: &Proxy, request: &[&str], reply: &[u8], action: impl FnMut()) -> Vec<Duration> {
    let stop = AtomicBool::new(false);
    let mut small = proxy.client();
    let ask = |small: &mut RawClient| {
        let (answer, took) = timed(|| small.call(request));
        assert_eq!(answer, reply);
        took
    };
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut times = vec![ask(&mut small)];
            while !stop.load(Ordering::Relaxed) {
                times.push(ask(&mut small));
            }
            times.sort_unstable();
            times
        });
        let done = catch_unwind(AssertUnwindSafe(action));
        stop.store(true, Ordering::Relaxed);
        done.unwrap_or_else(|panic| resume_unwind(panic));
        asking.join().unwrap()
    })
}

fn show(what: &str, took: Duration, times: &[Duration], growth_kib: u64) {
    let part = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "{what}: {took:?}, memory {growth_kib} KiB more; small requests beside it: {} in all, p50 {:?}, p99 {:?}, longest {:?}",
        times.len(),
        part(50),
        part(99),
        part(100)
    );
}

/// Nobody waits for a transfer; the node itself is busy for some time when it copies the value. (A write that is under way
/// when the reply begins waits for its end, so those who ask beside it read.)
fn assert_kept_latency(times: &[Duration], took: Duration) {
    let p99 = times[times.len() * 99 / 100];
    assert!(p99 < took / 4, "p99 of small requests: {p99:?}, of a transfer of {took:?}");
    assert!(times.len() > 20, "only {} small requests in {took:?}", times.len());
}

/// Reads the rest of a value of zeros.
fn read_zeros(stream: &mut impl Read, mut left: usize) {
    let mut buffer = vec![0; 256 << 10];
    while left > 0 {
        let most = left.min(buffer.len());
        let n = stream.read(&mut buffer[..most]).expect("read");
        assert!(n > 0, "the end {left} bytes too early");
        assert!(buffer[..n].iter().all(|b| *b == 0));
        left -= n;
    }
}

#[test]
fn a_value_of_512_mib_is_read_in_little_memory_and_delays_nobody() {
    let _alone = alone();
    let proxy = proxy();
    let mut c = proxy.client();
    let made = c.call(&["SETRANGE", "{streams}read", &(LARGE - 1).to_string(), "\0"]);
    assert_eq!(made, format!(":{LARGE}\r\n").into_bytes());
    let before = proxy.peak_rss_kib();
    let head = format!("${LARGE}\r\n");
    for slow in [false, true] {
        let act = || {
            beside(&proxy, &["GET", "{streams}small"], b"$1\r\n1\r\n", || {
                c.send(&request(&["GET", "{streams}read"]));
                let mut stream = c.stream();
                let mut got = vec![0; head.len()];
                stream.read_exact(&mut got).unwrap();
                assert_eq!(got, head.as_bytes());
                let mut left = LARGE;
                // The slow one begins with 64 KiB every few milliseconds.
                for _ in 0..if slow { 200 } else { 0 } {
                    read_zeros(&mut stream, 64 << 10);
                    left -= 64 << 10;
                    let_pass(Duration::from_millis(3));
                }
                read_zeros(&mut stream, left);
                let mut end = [0; 2];
                stream.read_exact(&mut end).unwrap();
                assert_eq!(&end, b"\r\n");
            })
        };
        let (times, took) = timed(act);
        let growth = proxy.peak_rss_kib() - before;
        show(if slow { "GET, read slowly" } else { "GET" }, took, &times, growth);
        assert!(growth <= MOST_GROWTH_KIB, "{growth} KiB more");
        assert_kept_latency(&times, took);
    }
    assert_eq!(c.call(&["DEL", "{streams}read"]), b":1\r\n");
}

#[test]
fn a_value_of_512_mib_is_written_in_little_memory_and_delays_nobody() {
    let _alone = alone();
    let proxy = proxy();
    let mut c = proxy.client();
    let before = proxy.peak_rss_kib();
    let head = format!("*3\r\n$3\r\nSET\r\n$16\r\n{{streams}}written\r\n${LARGE}\r\n");
    for slow in [false, true] {
        let act = || {
            beside(&proxy, &["SET", "{streams}small", "1"], b"+OK\r\n", || {
                c.send(head.as_bytes());
                let zeros = vec![0; 256 << 10];
                let mut left = LARGE;
                // The slow one begins with 64 KiB every few milliseconds.
                for _ in 0..if slow { 200 } else { 0 } {
                    c.send(&zeros[..64 << 10]);
                    left -= 64 << 10;
                    let_pass(Duration::from_millis(3));
                }
                while left > 0 {
                    let n = left.min(zeros.len());
                    c.send(&zeros[..n]);
                    left -= n;
                }
                c.send(b"\r\n");
                assert_eq!(c.frame(), b"+OK\r\n");
            })
        };
        let (times, took) = timed(act);
        let growth = proxy.peak_rss_kib() - before;
        show(if slow { "SET, written slowly" } else { "SET" }, took, &times, growth);
        assert!(growth <= MOST_GROWTH_KIB, "{growth} KiB more");
        assert_kept_latency(&times, took);
        assert_eq!(c.call(&["STRLEN", "{streams}written"]), format!(":{LARGE}\r\n").into_bytes());
        assert_eq!(c.call(&["DEL", "{streams}written"]), b":1\r\n");
    }
}
