//! Half-closed and slow clients.

use std::io::Read;
use std::time::Duration;

use crate::support::frame::{request, show, text};
use crate::support::wait::{eventually, timed};
use crate::support::{wait_until, Proxy};
use crate::{client, fixture};

#[test]
fn a_client_that_half_closes_gets_all_replies() {
    let mut c = client();
    let mut bytes = Vec::new();
    let mut expected = Vec::new();
    for i in 0..3000 {
        bytes.extend(request(&["SET", &format!("half:{i}"), &i.to_string()]));
        bytes.extend(request(&["MGET", &format!("half:{i}"), "half:none"]));
        expected.extend_from_slice(b"+OK\r\n");
        expected.extend(format!("*2\r\n${}\r\n{i}\r\n$-1\r\n", i.to_string().len()).into_bytes());
    }
    c.send(&bytes);
    c.half_close();
    assert_eq!(show(&c.until_closed()), show(&expected));
}

#[test]
fn a_half_close_in_the_middle_of_a_request_delivers_what_was_whole() {
    let mut c = client();
    c.send(
        &[
            &request(&["SET", "half:cut", "v"])[..],
            &request(&["GET", "half:cut"]),
            b"*2\r\n$3\r\nGET\r\n$5\r\nab",
        ]
        .concat(),
    );
    c.half_close();
    assert_eq!(c.until_closed(), b"+OK\r\n$1\r\nv\r\n");
}

/// A client that asks for much and reads nothing: others go on, memory is bounded, and it is closed or held.
#[test]
fn a_slow_reader_slows_nobody_and_is_bounded() {
    let mut proxy = Proxy::start(&fixture().cluster, &["-max-procs", "1"]);
    let value = vec![b'v'; 1 << 20];
    assert_eq!(proxy.client().call(&[&b"SET"[..], b"slow:large", &value]), b"+OK\r\n");
    let before = proxy.rss_kib();
    let mut slow = proxy.client();
    slow.stream().set_nonblocking(true).unwrap();
    let get = request(&["GET", "slow:large"]);
    // 500 times 1 MiB, or as many as are taken: the limit is at 256 MiB.
    let mut taken = 0;
    while taken < 500 && slow.try_send(&get).is_ok() {
        taken += 1;
    }
    let mut other = proxy.client();
    for i in 0..500 {
        let (reply, took) = timed(|| other.call(&["SET", &format!("slow:other:{i}"), "1"]));
        assert_eq!(reply, b"+OK\r\n");
        // A write that was sent behind waits for the slow client, for two seconds, and then for what the node has to send.
        assert!(took < Duration::from_secs(8), "a command of another client took {took:?}");
    }
    let grown = proxy.rss_kib().saturating_sub(before);
    assert!(grown < 300 * 1024, "{grown} KiB more for one slow reader with {taken} requests");
    proxy.assert_alive();
}

/// A reader that was slow and comes back gets everything, in order, as long as it stayed below the limit.
#[test]
fn a_reader_that_pauses_below_the_limit_gets_everything() {
    let mut c = client();
    let value = vec![b'p'; 100 * 1024];
    assert_eq!(c.call(&[&b"SET"[..], b"slow:paused", &value]), b"+OK\r\n");
    let sent = request(&["GET", "slow:paused"]).repeat(80);
    c.send(&sent);
    let mut other = client();
    for _ in 0..100 {
        assert_eq!(other.line("GET slow:none"), b"$-1\r\n");
    }
    for _ in 0..80 {
        assert_eq!(c.frame().len(), value.len() + 11);
    }
}

/// The replies of who went away are dropped and never reach someone else.
#[test]
fn replies_of_a_client_that_left_reach_nobody_else() {
    let mut setup = client();
    for i in 0..50 {
        setup.call(&["SET", &format!("left:{i}"), &format!("for the one that left {i}")]);
    }
    let get_all: Vec<u8> = (0..50).flat_map(|i| request(&["GET", &format!("left:{i}")])).collect();
    for _ in 0..100 {
        let mut leaving = client();
        leaving.send(&get_all);
        drop(leaving);
        let mut staying = client();
        staying.send(&request(&["ECHO", "mine"]));
        staying.send(&request(&["GET", "left:none"]));
        assert_eq!(staying.frames(2).concat(), b"$4\r\nmine\r\n$-1\r\n");
    }
}

#[test]
fn a_reset_connection_is_noticed_and_forgotten() {
    let proxy = Proxy::with_admin(&fixture().cluster, &["-max-procs", "1"]);
    let clients = || proxy.metric_sum("clients{");
    wait_until("nobody is connected", Duration::from_secs(10), || clients() == 0.0);
    let mut c = proxy.client();
    c.send(&request(&["GET", "slow:none"]).repeat(2000));
    // Closed with replies unread, the kernel resets the connection.
    let mut one = [0];
    let _ = c.stream().read(&mut one);
    drop(c);
    assert!(eventually(Duration::from_secs(10), || clients() == 0.0), "{} clients left", clients());
}

/// A server holds all replies of a pipeline that is sent before the first one is read; here most of them wait at the nodes.
#[test]
fn a_pipeline_of_more_than_the_output_limit_is_answered_to_who_reads_late() {
    for (size, count) in [(1 << 20, 600), (100 << 10, 4000)] {
        let mut proxy = Proxy::start(&fixture().cluster, &["-max-procs", "1"]);
        let (mut late, mut other) = (proxy.client(), proxy.client());
        let value = vec![b'v'; size];
        let keys: Vec<String> = (0..30).map(|i| format!("late:{i}")).collect();
        for key in &keys {
            assert_eq!(other.call(&[b"SET", key.as_bytes(), &value]), b"+OK\r\n");
        }
        let before = proxy.rss_kib();
        let mut flood: Vec<u8> = (0..count).flat_map(|i| request(&["GET", &keys[i % 30]])).collect();
        flood.extend(request(&["PING"]));
        late.send(&flood);
        let (mut longest, mut waited) = (Duration::ZERO, Duration::ZERO);
        while waited < Duration::from_secs(3) {
            let (reply, took) = timed(|| other.call(&["STRLEN", "late:0"]));
            assert_eq!(text(&reply), size.to_string());
            (longest, waited) = (longest.max(took), waited + took);
        }
        let grown = proxy.rss_kib().saturating_sub(before);
        println!("{count} replies of {size} bytes: {grown} KiB more, others waited {longest:?} at most");
        assert!(grown < 128 * 1024, "{grown} KiB for one late reader");
        for i in 0..count {
            let reply = late.frame();
            assert_eq!(reply.len(), size + 3 + size.to_string().len() + 2, "reply {i}");
        }
        assert_eq!(late.frame(), b"+PONG\r\n");
        proxy.assert_alive();
    }
}
