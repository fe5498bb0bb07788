//! The texts of errors that the proxy makes itself, without `-` and line end unless said otherwise.
//!
//! Where a Redis server has words for a case they are copied: client libraries parse them.

use std::io::Write;
use std::time::Duration;

use super::part::NO_SLOT;
use crate::command::{self, Command};

/// As `processCommand` of a server says it.
pub const NO_AUTH: &[u8] = b"NOAUTH Authentication required.";

/// As `getNodeByQuery` of a server says it.
pub const CROSS_SLOT: &[u8] = b"CROSSSLOT Keys in request don't hash to the same slot";

/// A client that watches keys wants to wait for a key of another slot.
pub const BLOCKS_ELSEWHERE: &[u8] =
    b"ERR between WATCH and EXEC a blocking command must have its keys in the slot of the watched ones";

/// Class of commands that are never forwarded.
pub fn refused(out: &mut Vec<u8>, why: &str) {
    out.extend_from_slice(b"ERR ");
    out.extend_from_slice(why.as_bytes());
}

/// A command that `-refuse-commands` names.
#[cold]
pub fn refused_by_operator(out: &mut Vec<u8>, name: &str) {
    say(out, format_args!("ERR '{name}' is refused by this proxy (-refuse-commands)"));
}

/// A parameter of CONFIG SET that is not passed on.
#[cold]
pub fn refused_setting(out: &mut Vec<u8>, name: &str, why: &str) {
    say(out, format_args!("ERR CONFIG SET {name} is not available through the proxy: {why}"));
}

/// As a server says it of a command that the table does not know.
pub fn wrong_arity_of(out: &mut Vec<u8>, name: &str) {
    say(out, format_args!("ERR wrong number of arguments for '{name}' command"));
}

/// A command that the table does not know and that would change a shared connection.
pub fn not_yet_known(out: &mut Vec<u8>, name: &str) {
    say(
        out,
        format_args!(
            "ERR '{name}' is not available through the proxy: it would subscribe a shared connection"
        ),
    );
}

/// A command whose class the proxy does not carry out.
pub fn not_yet(out: &mut Vec<u8>, command: &'static Command) {
    let name = command::full_name(command.id);
    say(out, format_args!("ERR '{name}' is not supported by this version of the proxy"));
}

/// A command that is not carried out inside MULTI.
pub fn not_in_multi(out: &mut Vec<u8>, command: &'static Command) {
    let name = command::full_name(command.id);
    say(out, format_args!("ERR '{name}' is not supported inside MULTI"));
}

/// A command for many nodes inside a transaction with watched keys.
pub fn not_behind_watch(out: &mut Vec<u8>, command: &'static Command) {
    let name = command::full_name(command.id);
    say(
        out,
        format_args!(
            "ERR '{name}' is not supported inside MULTI with watched keys: it would part the transaction"
        ),
    );
}

/// A transaction of which a node has found keys in another slot, as a whole frame.
pub const BLOCK_CROSSES: &[u8] =
    b"-EXECABORT Transaction discarded because of: CROSSSLOT Keys in request don't hash to the same slot\r\n";

/// Nobody serves the slot, as a whole frame; the first half is a server's text.
pub fn unserved(out: &mut Vec<u8>, slot: u16, known: bool) {
    match (known, slot) {
        (false, _) => {
            say(out, format_args!("-CLUSTERDOWN The proxy has not reached any node of the cluster yet\r\n"))
        }
        (true, NO_SLOT) => say(out, format_args!("-CLUSTERDOWN The cluster has no primaries\r\n")),
        (true, slot) => {
            say(out, format_args!("-CLUSTERDOWN Hash slot not served: nobody owns slot {slot}\r\n"))
        }
    }
}

/// A command that may or may not have been executed, as a whole frame.
pub fn outcome_unknown(out: &mut Vec<u8>, node: &str, why: &str) {
    say(
        out,
        format_args!("-ERR node {node} {why} before it answered: the outcome of this command is unknown\r\n"),
    );
}

/// A large request that did not reach its node in full, as a whole frame.
pub fn not_sent(out: &mut Vec<u8>, node: &str, why: &str) {
    say(
        out,
        format_args!("-ERR node {node} {why} before it had all of this command: it was not executed\r\n"),
    );
}

/// A large request whose slot has moved while it was sent, as a whole frame.
pub fn moved_meanwhile(out: &mut Vec<u8>, slot: u16) {
    say(
        out,
        format_args!("-TRYAGAIN Slot {slot} has moved while this command was sent: it was not executed\r\n"),
    );
}

/// A question to all workers was not answered by all, as a whole frame.
pub fn silent_worker(out: &mut Vec<u8>, waited: Duration) {
    let waited = waited.as_millis();
    say(out, format_args!("-ERR a worker of the proxy did not answer within {waited} ms\r\n"));
}

/// The node where a client waits did not say whether it does not any more, as a whole frame.
pub fn silent_node(out: &mut Vec<u8>) {
    out.extend_from_slice(b"-ERR the node where the client waits did not answer\r\n");
}

/// A part that found no node in time, as a whole frame.
pub fn gave_up(out: &mut Vec<u8>, slot: u16, waited: Duration) {
    let waited = waited.as_millis();
    match slot {
        NO_SLOT => say(out, format_args!("-CLUSTERDOWN No primary could be reached within {waited} ms\r\n")),
        slot => say(
            out,
            format_args!("-CLUSTERDOWN No node of slot {slot} could be reached within {waited} ms\r\n"),
        ),
    }
}

/// A node that a part was for and that is not in the cluster any more, as a whole frame.
pub fn has_left(out: &mut Vec<u8>, node: &str) {
    say(out, format_args!("-ERR node {node} has left the cluster before it was asked\r\n"));
}

/// A node that a part was for and that could not be asked in time, as a whole frame.
pub fn unreachable(out: &mut Vec<u8>, node: &str, waited: Duration) {
    let waited = waited.as_millis();
    say(out, format_args!("-ERR node {node} could not be reached within {waited} ms\r\n"));
}

/// The error of one of the nodes that were asked, a whole frame, as a whole frame that names the node.
pub fn of_node(out: &mut Vec<u8>, node: &str, error: &[u8]) {
    say(out, format_args!("-ERR node {node}: "));
    out.extend_from_slice(error.strip_prefix(b"-").unwrap_or(error));
}

/// A node's SCAN cursor that leaves no room for the slot, as a whole frame.
pub fn cursor_too_large(out: &mut Vec<u8>, cursor: u64) {
    say(out, format_args!("-ERR the cursor {cursor} of a node is too large to go on with SCAN here\r\n"));
}

/// A node that has failed for so long that nobody waits for it any more, as a whole frame.
pub fn unreachable_for(out: &mut Vec<u8>, node: &str, slot: Option<u16>, span: Duration) {
    let span = span.as_millis();
    match slot {
        Some(slot) => say(
            out,
            format_args!("-CLUSTERDOWN Node {node} of slot {slot} has not answered for {span} ms\r\n"),
        ),
        None => say(out, format_args!("-ERR node {node} has not answered for {span} ms\r\n")),
    }
}

/// A part that was sent from node to node until time ran out, as a whole frame.
pub fn redirected(out: &mut Vec<u8>, slot: u16, waited: Duration) {
    let waited = waited.as_millis();
    say(
        out,
        format_args!(
            "-CLUSTERDOWN No node has accepted slot {slot} within {waited} ms, each names another\r\n"
        ),
    );
}

/// A backend could not be used because of the proxy's own configuration, as a whole frame.
pub fn misconfigured(out: &mut Vec<u8>, node: &str, answer: &[u8]) {
    let answer = String::from_utf8_lossy(answer);
    let answer = answer.trim_start_matches('-').trim_end();
    say(out, format_args!("-ERR the proxy could not log in to node {node}: {answer}\r\n"));
}

/// A node answered a part of a split command, or one of many nodes, with something that cannot be merged, as a whole frame.
pub fn unmergeable(out: &mut Vec<u8>) {
    out.extend_from_slice(b"-ERR a node answered a part of this command in an unexpected form\r\n");
}

/// EXEC was refused because a node refused a command of the transaction with `why`, a whole frame; as a whole frame, in
/// a server's words.
pub fn aborted(out: &mut Vec<u8>, why: &[u8]) {
    let why = why.strip_prefix(b"-").unwrap_or(why);
    out.extend_from_slice(b"-EXECABORT Transaction discarded because of: ");
    out.extend_from_slice(why.strip_prefix(b"ERR ").unwrap_or(why));
}

/// Writing to a vector cannot fail.
pub fn say(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}
