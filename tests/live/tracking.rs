//! CLIENT TRACKING: the answers and messages of a server, on one worker and across two.

use std::time::Duration;

use crate::support::compare::Pair;
use crate::support::frame::{integer, request, show};
use crate::support::{wait_until, Cluster, Proxy, RawClient, Server};

/// A proxy before a cluster of its own, and a server: these tests flush, and clients that broadcast would hear of what others
/// write. They end with it.
struct Both {
    proxy: Proxy,
    server: Server,
    _cluster: Cluster,
}

impl Both {
    fn start() -> Both {
        let cluster = Cluster::with(3, 0, &[]);
        let proxy = Proxy::start(&cluster, &["-max-procs", "2"]);
        Both { proxy, server: Server::standalone(&[]), _cluster: cluster }
    }

    fn pair(&self) -> Pair {
        Pair::connect(self.proxy.port, self.server.port)
    }

    /// Clients that speak RESP3.
    fn pair3(&self) -> Pair {
        let p = self.pair();
        Pair { proxy: p.proxy.resp3(), server: p.server.resp3() }
    }
}

/// The next frame of both, which must be the same and tell what is expected, line ends shown as blanks.
#[track_caller]
fn both_get(p: &mut Pair, expected: &str) {
    let (got, wanted) = (p.proxy.frame(), p.server.frame());
    assert_eq!(show(&got), show(&wanted));
    assert_eq!(String::from_utf8_lossy(&got).replace("\r\n", " ").trim_end(), expected);
}

fn invalidated(key: &str) -> String {
    format!(">2 $10 invalidate *1 ${} {key}", key.len())
}

const ALL: &str = ">2 $10 invalidate _";

#[test]
fn errors_and_states_are_those_of_a_server() {
    let both = Both::start();
    for hello in ["HELLO 2", "HELLO 3"] {
        let mut p = both.pair();
        let _ = (p.proxy.line(hello), p.server.line(hello));
        for line in [
            "CLIENT TRACKING",
            "CLIENT TRACKING x",
            "CLIENT TRACKING x REDIRECT 99999999",
            "CLIENT TRACKING on foo",
            "CLIENT TRACKING on REDIRECT",
            "CLIENT TRACKING on REDIRECT abc",
            "CLIENT TRACKING on REDIRECT 99999999",
            "CLIENT TRACKING on REDIRECT 0",
            "CLIENT TRACKING on REDIRECT -1",
            "CLIENT TRACKING on PREFIX a",
            "CLIENT TRACKING on PREFIX",
            "CLIENT TRACKING on BCAST OPTIN",
            "CLIENT TRACKING on OPTIN OPTOUT",
            "CLIENT TRACKING on BCAST PREFIX foo PREFIX foobar",
            "CLIENT TRACKING on BCAST PREFIX foo PREFIX foo",
            "CLIENT TRACKING off",
            "CLIENT TRACKING off REDIRECT 99999999",
            "CLIENT TRACKINGINFO",
            "CLIENT CACHING",
            "CLIENT CACHING YES",
            "CLIENT CACHING x",
            "CLIENT TRACKING on BCAST PREFIX foo PREFIX bar NOLOOP",
            "CLIENT TRACKINGINFO",
            "CLIENT GETREDIR",
            "CLIENT TRACKING on",
            "CLIENT TRACKING on BCAST PREFIX foobar",
            "CLIENT TRACKING on BCAST",
            "CLIENT TRACKING on BCAST PREFIX zap",
            "CLIENT TRACKINGINFO",
            "CLIENT TRACKING off extra",
            "CLIENT TRACKING off PREFIX a",
            "CLIENT GETREDIR",
            "CLIENT TRACKING on",
            "CLIENT CACHING YES",
            "CLIENT CACHING NO",
            "CLIENT CACHING x",
            "CLIENT TRACKING on BCAST",
            "CLIENT TRACKING on OPTIN",
            "CLIENT CACHING NO",
            "CLIENT CACHING YES",
            "CLIENT TRACKINGINFO",
            "CLIENT ID x",
            "CLIENT TRACKINGINFO",
            "GET tracking:none",
            "CLIENT TRACKINGINFO",
            "CLIENT TRACKING on OPTOUT",
            "CLIENT TRACKING on NOLOOP",
            "CLIENT TRACKINGINFO",
            "CLIENT TRACKING off",
            "CLIENT TRACKING on OPTOUT",
            "CLIENT CACHING NO",
            "CLIENT TRACKINGINFO",
            "MULTI",
            "CLIENT TRACKINGINFO",
            "CLIENT TRACKING off",
            "CLIENT TRACKING on",
            "CLIENT GETREDIR",
            "EXEC",
            "RESET",
            "CLIENT TRACKINGINFO",
        ] {
            p.same_line(line);
        }
        let me = |c: &mut RawClient| integer(&c.line("CLIENT ID"));
        let (ours, theirs) = (me(&mut p.proxy), me(&mut p.server));
        for (c, id) in [(&mut p.proxy, ours), (&mut p.server, theirs)] {
            let twice = format!("CLIENT TRACKING on REDIRECT {id} REDIRECT {id}");
            assert_eq!(c.line(&twice), b"-ERR A client can only redirect to a single other client\r\n");
            assert_eq!(c.line(&format!("CLIENT TRACKING on REDIRECT {id}")), b"+OK\r\n");
            assert_eq!(integer(&c.line("CLIENT GETREDIR")), id);
            let line = String::from_utf8(c.line("CLIENT INFO")).unwrap();
            assert!(line.contains(" flags=t ") && line.contains(&format!(" redir={id} ")), "{line}");
        }
    }
}

#[test]
fn messages_are_those_of_a_server() {
    let both = Both::start();
    let (mut reader, mut writer) = (both.pair3(), both.pair());
    reader.same_line("CLIENT TRACKING on");
    reader.same_line("GET {t}1");
    reader.same_line("MGET {t}1 {t}2");
    for (write, told) in [("SET {t}1 a", Some("{t}1")), ("SET {t}1 b", None), ("SET {t}2 a", Some("{t}2"))] {
        writer.same_line(write);
        told.into_iter().for_each(|key| both_get(&mut reader, &invalidated(key)));
    }
    reader.same_line("EXISTS {t}3");
    reader.same(&["EVAL", "return redis.call('get', KEYS[1])", "1", "{t}4"]);
    writer.same_line("MSET {t}3 1 {t}5 1");
    both_get(&mut reader, &invalidated("{t}3"));
    writer.same_line("APPEND {t}4 1");
    both_get(&mut reader, &invalidated("{t}4"));
    // What expires changes, too.
    writer.same_line("SET {t}6 1 PX 50");
    reader.same_line("GET {t}6");
    both_get(&mut reader, &invalidated("{t}6"));
    for _ in 0..2 {
        writer.same_line("FLUSHALL");
        both_get(&mut reader, ALL);
    }
    for line in ["MULTI", "GET {t}7", "EXEC", "CLIENT REPLY ON"] {
        reader.same_line(line);
    }
    reader.proxy.send_command(&["CLIENT", "REPLY", "OFF"]);
    reader.server.send_command(&["CLIENT", "REPLY", "OFF"]);
    writer.same_line("SET {t}7 1");
    both_get(&mut reader, &invalidated("{t}7"));
    reader.same_line("CLIENT REPLY ON");
    // Own writes are told like those of others.
    reader.same_line("GET {t}8");
    let frames = |c: &mut RawClient| {
        c.send(&request(&["SET", "{t}8", "1"]));
        let mut frames = c.frames(2);
        frames.sort();
        frames
    };
    assert_eq!(frames(&mut reader.proxy), frames(&mut reader.server));
    reader.same_line("CLIENT TRACKING off");
    reader.same_line("CLIENT TRACKING on BCAST PREFIX {t}a PREFIX {t}b");
    writer.same_line("MSET {t}a2 1 {t}b 1 {t}c 1 {t}a1 1");
    both_get(&mut reader, ">2 $10 invalidate *2 $5 {t}a1 $5 {t}a2");
    both_get(&mut reader, &invalidated("{t}b"));
}

#[test]
fn others_are_told_in_place_of_a_client_also_on_another_worker() {
    let both = Both::start();
    // Clients take turns between the workers.
    let mut listeners: Vec<Pair> = (0..2).map(|_| both.pair()).collect();
    let mut writer = both.pair();
    for listener in &mut listeners {
        let ids = [&mut listener.proxy, &mut listener.server].map(|c| integer(&c.line("CLIENT ID")));
        listener.same_line("SUBSCRIBE __redis__:invalidate");
        for hello in ["HELLO 2", "HELLO 3"] {
            let mut reader = both.pair();
            for (c, id) in [(&mut reader.proxy, ids[0]), (&mut reader.server, ids[1])] {
                c.line(hello);
                assert_eq!(c.line(&format!("CLIENT TRACKING on REDIRECT {id}")), b"+OK\r\n");
            }
            reader.same_line("GET {r}1");
            writer.same_line("APPEND {r}1 x");
            both_get(listener, "*3 $7 message $20 __redis__:invalidate *1 $4 {r}1");
        }
    }
    // It has left by the time that there is something to tell.
    let [mut ours, mut theirs] = [both.proxy.client(), both.server.client()].map(RawClient::resp3);
    for (c, listener) in [(&mut ours, both.proxy.client()), (&mut theirs, both.server.client())] {
        let mut listener = listener;
        let id = integer(&listener.line("CLIENT ID"));
        assert_eq!(c.line(&format!("CLIENT TRACKING on REDIRECT {id}")), b"+OK\r\n");
        drop(listener);
        let port = if c.stream().peer_addr().unwrap().port() == both.proxy.port {
            both.proxy.port
        } else {
            both.server.port
        };
        wait_until("it has left", Duration::from_secs(5), || {
            RawClient::connect(port).line(&format!("CLIENT LIST ID {id}")).len() < 20
        });
        c.line("GET {r}2");
        RawClient::connect(port).line("APPEND {r}2 x");
        let broken = format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{id}\r\n");
        assert_eq!(show(&c.frame()), show(broken.as_bytes()));
        let line = String::from_utf8(c.line("CLIENT INFO")).unwrap();
        assert!(line.contains(" flags=tR "), "{line}");
    }
}

#[test]
fn info_tells_how_much_is_tracked() {
    let both = Both::start();
    let mut c = both.proxy.client().resp3();
    assert_eq!(c.line("CLIENT TRACKING ON"), b"+OK\r\n");
    c.line("MGET {i}1 {i}2");
    let mut broadcast: Vec<RawClient> = (0..2).map(|_| both.proxy.client().resp3()).collect();
    broadcast.iter_mut().for_each(|c| assert_eq!(c.line("CLIENT TRACKING ON BCAST PREFIX x"), b"+OK\r\n"));
    let info = String::from_utf8(c.line("INFO everything")).unwrap();
    for line in ["tracking_clients:3", "tracking_total_keys:2", "tracking_total_items:2"] {
        assert!(info.contains(line), "{line} in {info}");
    }
}
