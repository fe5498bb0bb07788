//! MULTI, EXEC, DISCARD, WATCH, UNWATCH beside a standalone server, and that blocks are atomic.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::compare::Pair;
use crate::support::frame::{integer, items, request, show, text};
use crate::{client, fixture, pair};

/// Sends every line, words separated by blanks, one after the other, then all of them at once.
fn same_script(lines: &[&str]) {
    let mut p = pair();
    lines.iter().for_each(|line| drop(p.same_line(line)));
    p.same_and_alive(&script(lines));
    let mut p = resp3_pair();
    p.same_and_alive(&script(lines));
}

fn script(lines: &[&str]) -> Vec<u8> {
    lines.iter().flat_map(|line| request(&line.split(' ').collect::<Vec<_>>())).collect()
}

fn resp3_pair() -> Pair {
    let p = pair();
    Pair { proxy: p.proxy.resp3(), server: p.server.resp3() }
}

#[test]
fn all_orders_and_errors_are_those_of_a_server() {
    let scripts: [&[&str]; 28] = [
        &["EXEC", "DISCARD", "UNWATCH", "MULTI", "EXEC", "EXEC"],
        &["MULTI", "WATCH", "EXEC"],
        &["MULTI", "UNWATCH", "SET tx:a 2", "EXEC"],
        &["MULTI", "NOSUCHCOMMAND x y", "SET tx:a 3", "EXEC", "GET tx:a"],
        &["MULTI", "GET", "EXEC", "EXEC"],
        &["MULTI", "EXEC x", "EXEC", "MULTI x", "DISCARD x", "EXEC"],
        &["MULTI", "NOSUCHCOMMAND", "DISCARD", "EXEC", "MULTI", "GET tx:a", "EXEC"],
        &["MULTI", "SAVE", "EXEC"],
        &["MULTI", "CONFIG NOSUCH", "EXEC"],
        &["MULTI", "PING", "PING x", "ECHO y", "SELECT 0", "EXEC"],
        &[
            "MULTI",
            "SET tx:p 1",
            "CLIENT SETNAME n",
            "INCR tx:p",
            "CLIENT GETNAME",
            "ROLE",
            "EXEC",
            "GET tx:p",
        ],
        &["MULTI", "SET tx:p 1", "KEYS tx:p", "INCR tx:p", "KEYS none*", "INCR tx:p", "SCAN x", "EXEC"],
        &["MULTI", "HGETALL tx:none", "CLIENT TRACKINGINFO", "HELLO 9", "EXEC", "PING"],
        &[
            "MULTI",
            "SCRIPT EXISTS x",
            "MONITOR",
            "SSUBSCRIBE c",
            "PUBSUB NUMSUB c",
            "SELECT x",
            "EXEC",
            "PING",
        ],
        &["MULTI", "UNSUBSCRIBE", "PUNSUBSCRIBE a", "SUNSUBSCRIBE", "AUTH a b c d", "CLIENT KILL x", "EXEC"],
        &["WATCH tx:w", "MULTI", "CLIENT ID x", "EXEC", "MULTI", "CLIENT GETREDIR", "INCR tx:w", "EXEC"],
        &[
            "WATCH tx:w",
            "MULTI",
            "CLIENT GETREDIR",
            "EXEC",
            "WATCH tx:w",
            "SET tx:w 1",
            "MULTI",
            "ROLE",
            "EXEC",
        ],
        &[
            "DEL tx:w tx:l",
            "WATCH tx:w",
            "RPUSH tx:l a",
            "BLPOP tx:w 0.01",
            "SET tx:w 1",
            "MULTI",
            "PING",
            "EXEC",
        ],
        &["MULTI", "SET tx:s x", "INCR tx:s", "LPUSH tx:s 1", "GET tx:s", "EXEC", "GET tx:s"],
        &["MULTI", "SET tx:s x", "DISCARD", "GET tx:none"],
        &["DEL tx:h", "MULTI", "HSET tx:h f 1 g 2", "HGETALL tx:h", "HGET tx:h none", "EXEC"],
        &[
            "DEL tx:l",
            "MULTI",
            "BLPOP tx:l 0",
            "RPUSH tx:l a",
            "BLPOP tx:l 0",
            "BLMOVE tx:l tx:l LEFT LEFT 0",
            "EXEC",
        ],
        &["DEL tx:x", "MULTI", "XREAD BLOCK 0 STREAMS tx:x $", "BZPOPMIN tx:x 0", "EXEC"],
        &["WATCH tx:w", "MULTI", "SET tx:w 1", "EXEC"],
        &["WATCH tx:w", "SET tx:w 1", "MULTI", "SET tx:w 2", "EXEC", "GET tx:w"],
        &["WATCH tx:w", "SET tx:w 1", "UNWATCH", "MULTI", "SET tx:w 3", "EXEC", "GET tx:w"],
        &["WATCH tx:w", "WATCH tx:w", "MULTI", "DISCARD", "SET tx:w 1", "MULTI", "EXEC"],
        &["WATCH tx:w", "SET tx:w 1", "MULTI", "BAD", "EXEC", "MULTI", "GET tx:w", "EXEC"],
    ];
    scripts.iter().for_each(|lines| same_script(lines));
}

/// Redis goes on with the transaction, Valkey since 8 gives it up.
#[test]
fn multi_and_watch_inside_a_transaction_are_refused_as_by_the_clusters_own_servers() {
    for inside in ["MULTI", "WATCH tx:n"] {
        same_script(&["DEL tx:n", "MULTI", inside, "INCR tx:n", "EXEC", "GET tx:n", "EXEC"]);
    }
}

#[test]
fn an_error_inside_a_transaction_that_looks_like_a_redirect_is_data() {
    let script = "return redis.error_reply('MOVED 1 127.0.0.1:1')";
    let mut p = pair();
    p.same(&["MULTI"]);
    p.same(&["EVAL", script, "1", "tx:moved"]);
    p.same(&["SET", "tx:moved", "v"]);
    p.same(&["EXEC"]);
}

#[test]
fn reset_and_quit_leave_a_transaction() {
    let mut p = pair();
    for line in ["WATCH tx:r", "MULTI", "SET tx:r 1", "RESET", "EXEC", "GET tx:r", "MULTI", "SET tx:r 2"] {
        p.same_line(line);
    }
    p.same_and_closed(&request(&["QUIT"]));
    pair().same_line("GET tx:r");
}

#[test]
fn subscriptions_and_keys_of_two_slots_are_refused_inside_a_transaction() {
    let mut c = client();
    for line in ["SUBSCRIBE tx:ch", "MGET tx:a tx:b", "PSUBSCRIBE tx:*"] {
        assert_eq!(c.line("MULTI"), b"+OK\r\n");
        let reply = c.line(line);
        assert!(reply.starts_with(b"-"), "{line}: {}", show(&reply));
        let reply = c.line("EXEC");
        assert!(reply.starts_with(b"-EXECABORT "), "{line}: {}", show(&reply));
    }
}

#[test]
fn many_transactions_in_one_segment_are_answered_in_order() {
    let mut c = client();
    c.line("DEL tx:p:a tx:p:b");
    let one = script(&[
        "MULTI",
        "INCR tx:p:a",
        "EXEC",
        "PING",
        "MGET tx:p:a tx:p:b",
        "MULTI",
        "INCR tx:p:b",
        "EXEC",
    ]);
    c.send(&one.repeat(500));
    for i in 1..=500 {
        let bulk =
            |n: i32| if n == 0 { "$-1\r\n".into() } else { format!("${}\r\n{n}\r\n", n.to_string().len()) };
        let expected = format!(
            "+OK\r\n+QUEUED\r\n*1\r\n:{i}\r\n+PONG\r\n*2\r\n{}{}+OK\r\n+QUEUED\r\n*1\r\n:{i}\r\n",
            bulk(i),
            bulk(i - 1)
        );
        assert_eq!(show(&c.frames(8).concat()), show(expected.as_bytes()), "round {i}");
    }
}

/// Two keys that only ever change together: whoever reads them, in one command or in a transaction, sees them equal.
#[test]
fn transactions_are_atomic_beside_other_clients() {
    let stop = AtomicBool::new(false);
    let rounds = 1500;
    thread::scope(|s| {
        let writers: Vec<_> = (0..2)
            .map(|_| {
                s.spawn(|| {
                    let mut c = client();
                    for _ in 0..rounds {
                        c.send(&script(&["MULTI", "INCR {tx:at}a", "INCR {tx:at}b", "EXEC"]));
                        let reply = c.frames(4).remove(3);
                        let both: Vec<i64> = items(&reply).into_iter().map(integer).collect();
                        assert_eq!(both[0], both[1]);
                    }
                })
            })
            .collect();
        let reader = s.spawn(|| {
            let mut c = client();
            while !stop.load(Ordering::Relaxed) {
                let reply = c.line("MGET {tx:at}a {tx:at}b");
                assert_eq!(items(&reply)[0], items(&reply)[1]);
            }
        });
        let ended: Vec<_> = writers.into_iter().map(|w| w.join()).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(ended.iter().all(Result::is_ok) && reader.join().is_ok());
    });
    assert_eq!(text(&client().line("GET {tx:at}a")), (2 * rounds).to_string());
}

/// The usual check-and-set loop: nothing is lost, whoever is first.
#[test]
fn watched_transactions_lose_no_update() {
    thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                let mut c = client();
                let mut done = 0;
                while done < 50 {
                    c.line("WATCH tx:cas");
                    let reply = c.line("GET tx:cas");
                    let n: i64 = if reply == b"$-1\r\n" { 0 } else { text(&reply).parse().unwrap() };
                    c.line("MULTI");
                    c.line(&format!("SET tx:cas {}", n + 1));
                    done += i32::from(c.line("EXEC") == b"*1\r\n+OK\r\n");
                }
            });
        }
    });
    assert_eq!(text(&client().line("GET tx:cas")), "200");
}

/// What a client that has gone watched must not make the transaction of the next one fail.
#[test]
fn a_watch_ends_with_its_client() {
    let mut writer = client();
    for i in 0..50 {
        let mut leaving = client();
        assert_eq!(leaving.line("WATCH tx:left"), b"+OK\r\n");
        drop(leaving);
        let mut next = client();
        assert_eq!(next.line("WATCH {tx:left}2"), b"+OK\r\n");
        writer.line(&format!("SET tx:left {i}"));
        assert_eq!(next.line("MULTI"), b"+OK\r\n");
        assert_eq!(next.line("PING"), b"+QUEUED\r\n");
        assert_eq!(next.line("EXEC"), b"*1\r\n+PONG\r\n", "round {i}");
    }
}

#[test]
fn watch_of_two_slots_is_refused() {
    let mut c = client();
    let crossed = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    assert_eq!(c.line("WATCH tx:a tx:b"), crossed);
    assert_eq!(c.line("WATCH tx:a"), b"+OK\r\n");
    assert_eq!(c.line("WATCH tx:b"), crossed);
    assert_eq!(c.line("UNWATCH"), b"+OK\r\n");
    assert_eq!(c.line("WATCH tx:b"), b"+OK\r\n");
    assert!(fixture().cluster.nodes.len() > 1);
}
