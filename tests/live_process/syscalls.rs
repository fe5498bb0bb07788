//! What a request costs in system calls, as strace sees them.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::cluster;
use crate::support::temp::TempDir;
use crate::support::{wait_until, Proxy, RawClient};

/// Reading, writing and waiting, by the names that they may have.
const FEW: [&str; 6] = ["read", "recvfrom", "write", "sendto", "epoll_wait", "epoll_pwait"];

const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$7\r\nno:such\r\n";
const NULL: &[u8] = b"$-1\r\n";

/// A strace of a running proxy.
struct Trace {
    child: Child,
    dir: TempDir,
}

impl Trace {
    fn attach(proxy: &Proxy) -> Trace {
        let dir = TempDir::new("strace");
        let child = Command::new("strace")
            .args(["-f", "-qq", "-p", &proxy.pid().to_string(), "-o"])
            .arg(dir.path().join("calls"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("strace, which tools/install-test-tools.sh installs");
        let trace = Trace { child, dir };
        wait_until("strace sees the proxy", Duration::from_secs(20), || {
            proxy.client().line("PING");
            trace.calls().contains_key("sendto")
        });
        trace
    }

    /// Calls so far, by name; `123 read(4, ...) = 5`. What was interrupted counts once.
    fn calls(&self) -> BTreeMap<String, usize> {
        let mut calls = BTreeMap::new();
        for line in fs::read_to_string(self.dir.path().join("calls")).unwrap_or_default().lines() {
            let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
            let name = call.split('(').next().unwrap_or_default();
            if !name.is_empty() && !name.contains(' ') {
                *calls.entry(name.to_owned()).or_default() += 1;
            }
        }
        calls
    }

    /// Calls of `work`, by name.
    fn calls_of(&self, work: impl FnOnce()) -> BTreeMap<String, usize> {
        let before = self.calls();
        work();
        let mut calls = self.calls();
        calls.retain(|name, count| {
            *count -= before.get(name).unwrap_or(&0);
            *count > 0
        });
        calls
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // By SIGTERM it lets the proxy go.
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

fn get(client: &mut RawClient, count: usize) {
    client.send(&GET.repeat(count));
    (0..count).for_each(|_| assert_eq!(client.frame(), NULL));
}

/// Fails when there were other calls than reads, writes and waits, or more than so many for 1,000 requests.
fn assert_few(calls: &BTreeMap<String, usize>, requests: usize, most_per_thousand: usize) {
    let others: Vec<_> = calls.iter().filter(|(name, _)| !FEW.contains(&name.as_str())).collect();
    assert!(others.is_empty(), "not only reads, writes and waits: {others:?}");
    let per_thousand = calls.values().sum::<usize>() * 1000 / requests;
    assert!(per_thousand <= most_per_thousand, "{per_thousand} calls for 1000 requests: {calls:?}");
}

#[test]
fn requests_need_reads_writes_and_waits_only() {
    let proxy = Proxy::start(cluster(), &["-max-procs", "1", "-slots-reload-interval", "1h"]);
    let mut client = proxy.client();
    // Buffers find their size; else the heap may have to grow for them.
    [1, 100, 100].into_iter().for_each(|count| get(&mut client, count));
    let trace = Trace::attach(&proxy);
    // The last connection of the attachment may still be about to be closed.
    wait_until("one request at a time takes six calls", Duration::from_secs(60), || {
        let calls = trace.calls_of(|| (0..100).for_each(|_| get(&mut client, 1)));
        calls.keys().all(|name| FEW.contains(&name.as_str())) && calls.values().sum::<usize>() <= 610
    });
    let calls = trace.calls_of(|| (0..300).for_each(|_| get(&mut client, 1)));
    assert_few(&calls, 300, 6100);
    let calls = trace.calls_of(|| (0..100).for_each(|_| get(&mut client, 100)));
    assert_few(&calls, 10_000, 100);
}
