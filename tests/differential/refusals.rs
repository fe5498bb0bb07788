//! What is left out of the stream because a cluster cannot do it: each has its error.

use super::{alone, fixture};
use crate::support::frame::{is_error, show, text};
use crate::support::Proxy;

/// What newer servers say of databases that are not there.
const NO_SUCH_DATABASE: &str = "DB index is out of range";

/// Commands and what their error has to say.
const REFUSED: &[(&str, &str)] = &[
    ("SELECT 1", "SELECT is not allowed in cluster mode"),
    ("SWAPDB 0 1", "not allowed in cluster mode"),
    ("MOVE k 1", "MOVE is not allowed in cluster mode"),
    ("COPY {r}a {r}b DB 1", "Copying to another database is not allowed in cluster mode"),
    ("SORT {r}a BY w_*", "denied in cluster mode"),
    ("SORT {r}a GET w_*", "denied in cluster mode"),
    ("RENAME {r}a {s}b", "CROSSSLOT"),
    ("WAIT 1", "wrong number of arguments"),
    ("SHUTDOWN", "not available through the proxy"),
    ("REPLICAOF NO ONE", "not available through the proxy"),
    ("DEBUG SLEEP 0", "not available through the proxy"),
    ("MODULE LOAD x", "not available through the proxy"),
    ("ACL SETUSER x on", "not available through the proxy"),
];

#[test]
fn what_a_cluster_cannot_do_is_refused_with_a_reason() {
    let _alone = alone();
    let proxy = Proxy::start(&fixture().cluster, &[]);
    let mut c = proxy.client();
    for (line, reason) in REFUSED {
        let reply = c.line(line);
        let told = text(&reply).to_lowercase();
        let of_database = reason.contains("cluster mode") && text(&reply).contains(NO_SUCH_DATABASE);
        assert!(
            is_error(&reply) && (told.contains(&reason.to_lowercase()) || of_database),
            "{line}: {}",
            show(&reply)
        );
        assert_eq!(c.line("PING"), b"+PONG\r\n", "after {line}");
    }
}

#[test]
fn a_transaction_that_cannot_be_atomic_is_aborted() {
    let _alone = alone();
    let proxy = Proxy::start(&fixture().cluster, &[]);
    let mut c = proxy.client();
    for line in ["SET {s}b 1", "MGET {r}a {s}b", "SUBSCRIBE c", "CLIENT REPLY OFF"] {
        assert_eq!(c.line("MULTI"), b"+OK\r\n");
        assert_eq!(c.line("SET {r}a 1"), b"+QUEUED\r\n");
        let reply = c.line(line);
        assert!(is_error(&reply), "{line}: {}", show(&reply));
        let reply = c.line("EXEC");
        assert!(text(&reply).starts_with("EXECABORT"), "{line}: {}", show(&reply));
        assert_eq!(c.line("EXISTS {r}a {s}b"), b":0\r\n", "after {line}");
    }
}
