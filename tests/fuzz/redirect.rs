//! MOVED and ASK: what is taken for a redirect makes sense, and comes to the same when it is written down again.

use redis_cluster_proxy::cluster::{parse_redirect, RedirectKind, SLOTS};

/// Looks at one input.
pub fn check(data: &[u8]) {
    let Some(redirect) = parse_redirect(data) else { return };
    assert!(usize::from(redirect.slot) < SLOTS && redirect.port != 0);
    assert!(redirect.host.bytes().all(|b| b.is_ascii_graphic()));
    let kind = match redirect.kind {
        RedirectKind::Moved => "MOVED",
        RedirectKind::Ask => "ASK",
    };
    let again = format!("-{kind} {} [{}]:{}\r\n", redirect.slot, redirect.host, redirect.port);
    assert_eq!(parse_redirect(again.as_bytes()), Some(redirect));
}
