//! Error texts: the server's own, byte for byte, because client libraries parse them.

use crate::support::frame::{is_error, show, text};
use crate::{client, pair};

#[test]
fn unknown_commands_are_answered_with_the_servers_text() {
    let mut p = pair();
    let long = "x".repeat(300);
    p.same(&["NOSUCH"]);
    p.same(&["nosuch", "a", "b"]);
    p.same(&["no\r\nsuch", "a\r\nb", "\0"]);
    p.same(&["foo|bar", "'quoted'"]);
    p.same(&[long.as_str(), "b"]);
    p.same(&["NOSUCH", &long, &long, "c"]);
    p.same(&["NOSUCH", &"y".repeat(100), "z", &long]);
    p.same(&[""]);
    p.same(&["", "a"]);
    p.same(&["NOSUCH", ""]);
}

#[test]
fn wrong_numbers_of_arguments_are_answered_with_the_servers_text() {
    let mut p = pair();
    for line in [
        "GET",
        "GET a b",
        "get",
        "SET a",
        "MGET",
        "MSET",
        "MSET a",
        "MSET a 1 b",
        "DEL",
        "EXISTS",
        "UNLINK",
        "TOUCH",
        "ECHO",
        "ECHO a b",
        "PING a b",
        "INCR",
        "HSET h",
        "HSET h f",
        "EXPIRE k",
        "OBJECT",
        "OBJECT ENCODING",
        "OBJECT nosuch k",
        "SELECT",
        "AUTH",
        "CLIENT",
        "CLIENT nosuch",
        "CLIENT SETNAME",
        "CLIENT ID x",
        "XINFO",
        "XINFO STREAM",
        "ZADD z 1",
        "EVAL",
        "EVAL x",
        "BITOP AND",
        "RENAME a",
        "MSETNX a",
        "SETRANGE a 1",
        "LPOS l",
        "GEOADD g 1 2",
        "COPY a",
        "SUBSTR a",
    ] {
        p.same_line(line);
    }
}

#[test]
fn a_bad_number_of_keys_is_answered_with_the_servers_text() {
    let mut p = pair();
    for line in [
        "EVAL x 0x1 a",
        "EVAL x -1 a",
        "EVAL x 5 a",
        "EVAL x abc",
        "ZUNION 0 a",
        "ZUNION x a",
        "ZUNION 5 a",
        "ZINTERCARD 0 a",
        "SINTERCARD 0 a",
        "SINTERCARD x a",
        "LMPOP 0 a LEFT",
        "LMPOP x a LEFT",
        "LMPOP 5 a LEFT",
        "ZUNIONSTORE d 0 a",
        "ZMPOP 0 a MIN",
        "XREAD STREAMS a",
        "XREAD STREAMS a b 1",
        "XREAD COUNT 1",
    ] {
        p.same_line(line);
    }
}

#[test]
fn an_odd_mset_changes_nothing() {
    let mut p = pair();
    p.same_line("DEL odd:a odd:b");
    p.same_line("MSET odd:a 1 odd:b");
    p.same_line("EXISTS odd:a odd:b");
}

/// What a proxy must never hand to a shared node: each is refused and the connection stays in use.
#[test]
fn commands_that_would_harm_others_are_refused() {
    let mut c = client();
    for line in [
        "SHUTDOWN NOSAVE",
        "REPLICAOF NO ONE",
        "SLAVEOF NO ONE",
        "FAILOVER",
        "SYNC",
        "PSYNC ? -1",
        "REPLCONF ACK 1",
        "MIGRATE 127.0.0.1 1 k 0 100",
        "MODULE LOAD x",
        "MODULE UNLOAD x",
        "DEBUG SLEEP 0",
        "ASKING",
        "SWAPDB 0 1",
        "MOVE k 1",
        "CLUSTER RESET",
        "CLUSTER MEET 127.0.0.1 1",
        "CLUSTER ADDSLOTS 1",
        "CLUSTER FORGET x",
        "CLUSTER FAILOVER",
        "CLUSTER SETSLOT 1 STABLE",
        "ACL SETUSER x on",
        "SELECT 1",
    ] {
        let reply = c.line(line);
        assert!(is_error(&reply), "{line}: {}", show(&reply));
        assert!(!text(&reply).contains("unknown command"), "{line}: {}", show(&reply));
        assert_eq!(c.line("PING"), b"+PONG\r\n", "after {line}");
    }
}

/// State of one connection that a shared backend cannot hold: refused in words as long as it is not served.
#[test]
fn commands_with_connection_state_are_never_forwarded_as_they_are() {
    for line in [
        "MULTI",
        "WATCH state:k",
        "MONITOR",
        "BLPOP state:none 0.01",
        "BZPOPMIN state:none 0.01",
        "XREAD BLOCK 10 STREAMS state:none $",
        "WAIT 0 10",
    ] {
        let mut c = client();
        let reply = c.line(line);
        assert!(!reply.is_empty(), "{line}");
        let mut other = client();
        assert_eq!(other.line("SET state:k v"), b"+OK\r\n", "another client after {line}");
        assert_eq!(other.line("GET state:k"), b"$1\r\nv\r\n", "another client after {line}");
        if is_error(&reply) {
            assert_eq!(c.line("PING"), b"+PONG\r\n", "after {line}: {}", show(&reply));
        }
    }
}

/// Commands over the whole keyspace answer something or are refused in words; either way the connection is in use.
#[test]
fn commands_over_all_nodes_leave_the_connection_usable() {
    let mut c = client();
    for line in [
        "SCAN 0",
        "KEYS nothing-has-this-name",
        "DBSIZE",
        "RANDOMKEY",
        "INFO",
        "COMMAND COUNT",
        "CONFIG GET maxmemory",
        "SLOWLOG LEN",
        "LATENCY LATEST",
        "TIME",
        "SCRIPT EXISTS abc",
        "FUNCTION LIST",
        "CLUSTER INFO",
        "PUBLISH ch x",
    ] {
        let reply = c.line(line);
        assert!(
            !reply.starts_with(b"-MOVED") && !reply.starts_with(b"-CROSSSLOT"),
            "{line}: {}",
            show(&reply)
        );
        assert_eq!(c.line("PING"), b"+PONG\r\n", "after {line}");
    }
}
