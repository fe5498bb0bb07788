//! The frames that clients get besides messages, as Redis 7.0.15 writes them, and those for nodes.

use super::Scope;
use crate::command::{self, Command};
use crate::proxy::errors;
use crate::resp::{encode, Protocol};

/// Appends what a node is told to begin or end carrying a topic.
pub fn order(out: &mut Vec<u8>, scope: Scope, name: &[u8], on: bool) {
    match (scope, on) {
        (Scope::Changes, true) => encode::request(out, &["CLIENT", "TRACKING", "ON", "BCAST"]),
        (Scope::Changes, false) => encode::request(out, &["CLIENT", "TRACKING", "OFF"]),
        (_, true) => encode::request(out, &[scope.subscribe().as_bytes(), name]),
        (_, false) => encode::request(out, &[scope.unsubscribe().as_bytes(), name]),
    }
}

/// Appends the confirmation of `verb` for `name` (`None`: there was nothing to leave), `count` subscriptions being
/// left.
pub fn confirmation(out: &mut Vec<u8>, protocol: Protocol, verb: &str, name: Option<&[u8]>, count: usize) {
    encode::push(out, 3, protocol);
    encode::bulk(out, verb.as_bytes());
    match name {
        Some(name) => encode::bulk(out, name),
        None => encode::null(out, protocol),
    }
    encode::integer(out, i64::try_from(count).unwrap_or(i64::MAX));
}

/// Appends the answer to a PING of a subscriber that speaks RESP2.
pub fn pong(out: &mut Vec<u8>, text: &[u8]) {
    encode::request(out, &[b"pong", text]);
}

/// Appends the text of the error for a command that a subscriber with RESP2 may not use.
pub fn not_now(out: &mut Vec<u8>, command: &'static Command) {
    let name = command::full_name(command.id);
    let allowed = "(P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET";
    // A server that rejects EXEC says that the transaction is lost.
    let prefix = if name == "exec" { "EXECABORT Transaction discarded because of:" } else { "ERR" };
    errors::say(
        out,
        format_args!("{prefix} Can't execute '{name}': only {allowed} are allowed in this context"),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn confirmed(protocol: Protocol, name: Option<&[u8]>) -> String {
        let mut out = Vec::new();
        confirmation(&mut out, protocol, "unsubscribe", name, 12);
        String::from_utf8_lossy(&out).replace("\r\n", "|")
    }

    #[test]
    fn confirmations_are_those_of_a_server() {
        assert_eq!(confirmed(Protocol::Resp2, Some(b"a")), "*3|$11|unsubscribe|$1|a|:12|");
        assert_eq!(confirmed(Protocol::Resp3, Some(b"")), ">3|$11|unsubscribe|$0||:12|");
        assert_eq!(confirmed(Protocol::Resp2, None), "*3|$11|unsubscribe|$-1|:12|");
        assert_eq!(confirmed(Protocol::Resp3, None), ">3|$11|unsubscribe|_|:12|");
    }
}
