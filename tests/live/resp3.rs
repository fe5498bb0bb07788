//! After HELLO 3 every reply has the type that a standalone server gives it.

use crate::support::compare::Pair;
use crate::support::frame::{items, request, show};
use crate::{client, pair};

fn pair3() -> Pair {
    let p = pair();
    Pair { proxy: p.proxy.resp3(), server: p.server.resp3() }
}

#[test]
fn replies_have_the_types_of_resp3() {
    let mut p = pair3();
    for line in ["HSET r3:h f v", "SADD r3:s a", "ZADD r3:z 1.5 m", "SET r3:k v", "DEL r3:none"] {
        p.same_line(line);
    }
    for (line, kind) in [
        ("HGETALL r3:h", b'%'),
        ("HGETALL r3:none", b'%'),
        ("SMEMBERS r3:s", b'~'),
        ("ZSCORE r3:z m", b','),
        ("GET r3:none", b'_'),
        ("HGET r3:h none", b'_'),
        ("ZRANGE r3:z 0 -1 WITHSCORES", b'*'),
        ("ZINCRBY r3:z 1 m", b','),
        ("ZSCORE r3:none m", b'_'),
        ("LPOP r3:none", b'_'),
        ("HRANDFIELD r3:h 1 WITHVALUES", b'*'),
        ("ZPOPMIN r3:none", b'*'),
        ("XRANGE r3:none - +", b'*'),
        ("MGET r3:k r3:none r3:other", b'*'),
        ("EXISTS r3:k r3:none", b':'),
        ("LMPOP 1 r3:none LEFT", b'_'),
        ("GETDEL r3:none", b'_'),
        ("SET r3:k w NX", b'_'),
        ("SET r3:k w GET", b'$'),
        ("INCR r3:k", b'-'),
        ("NOSUCH", b'-'),
        ("GET", b'-'),
        ("CLIENT GETNAME", b'_'),
    ] {
        let reply = p.same_line(line);
        assert_eq!(reply[0], kind, "{line}: {}", show(&reply));
    }
}

#[test]
fn scripts_return_every_type_of_resp3() {
    let mut p = pair3();
    for script in [
        "redis.setresp(3); return redis.call('HGETALL', KEYS[1])",
        "return {double=3.5}",
        "return {map={a=1}}",
        "return {set={a=true}}",
        "redis.setresp(3); return true",
        "redis.setresp(3); return false",
        "return {big_number='123456789012345678901234567890'}",
        "return {verbatim_string={format='txt', string='a\\r\\nb'}}",
        "return {1, {2, {err='E x'}}, false}",
        "return redis.status_reply('FINE')",
    ] {
        p.same(&["EVAL", script, "1", "r3:h2"]);
    }
}

#[test]
fn nulls_and_sums_of_split_commands_follow_the_protocol_of_the_client() {
    let (mut two, mut three) = (client(), client().resp3());
    assert_eq!(two.line("MGET r3:n1 r3:n2 r3:n3"), b"*3\r\n$-1\r\n$-1\r\n$-1\r\n");
    assert_eq!(three.line("MGET r3:n1 r3:n2 r3:n3"), b"*3\r\n_\r\n_\r\n_\r\n");
}

#[test]
fn clients_of_both_protocols_do_not_disturb_each_other() {
    let (mut two, mut three) = (client(), client().resp3());
    two.line("HSET r3:both f v");
    for _ in 0..200 {
        two.send_command(&["HGETALL", "r3:both"]);
        three.send_command(&["HGETALL", "r3:both"]);
        assert_eq!(two.frame(), b"*2\r\n$1\r\nf\r\n$1\r\nv\r\n");
        assert_eq!(three.frame(), b"%1\r\n$1\r\nf\r\n$1\r\nv\r\n");
    }
}

/// What was sent before the switch is answered in the old protocol, what follows in the new one.
#[test]
fn the_protocol_changes_within_a_pipeline() {
    let mut p = pair();
    p.same_line("DEL r3:switch");
    p.same_line("HSET r3:switch f v");
    let get = request(&["HGETALL", "r3:switch"]);
    let bytes = [get.clone(), request(&["HELLO", "3"]), get.clone(), request(&["HELLO", "2"]), get].concat();
    p.proxy.send(&bytes);
    p.server.send(&bytes);
    let (got, expected) = (p.proxy.frames(5), p.server.frames(5));
    for i in [0, 2, 4] {
        assert_eq!(show(&got[i]), show(&expected[i]));
    }
    assert_eq!(items(&got[1]).len(), items(&expected[1]).len());
}
