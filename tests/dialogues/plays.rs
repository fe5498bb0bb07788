//! Transactions of which some commands do not go to one node: EXEC is played.

use redis_cluster_proxy::proxy::Hint;

use crate::rig::{cmd, Rig, A, B, C};

const ABORTED: &[u8] = b"-EXECABORT Transaction discarded because of previous errors.\r\n";
const FULL: &[u8] = b"-EXECABORT Transaction discarded because of: OOM full\r\n";

fn script(commands: &[&[&str]]) -> Vec<u8> {
    commands.iter().flat_map(|c| cmd(c)).collect()
}

#[test]
fn what_the_proxy_answers_itself_leaves_the_rest_one_block() {
    let rig = Rig::three();
    let c = rig.client();
    let queue: [&[&str]; 5] =
        [&["MULTI"], &["CLIENT", "GETNAME"], &["INCR", "b"], &["CLIENT", "SETNAME", "x"], &["INCR", "b"]];
    c.sends(script(&queue)).receives(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    c.sends(script(&[&["EXEC"], &["CLIENT", "GETNAME"]])).receives_nothing();
    let a = rig.node(A);
    a.expects_bytes(script(&[&["MULTI"], &["INCR", "b"], &["INCR", "b"], &["EXEC"]])).expects_nothing();
    a.replies_in_pieces(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:1\r\n:2\r\n", 5);
    c.receives(b"*4\r\n$-1\r\n:1\r\n+OK\r\n:2\r\n$1\r\nx\r\n").receives_nothing();
}

#[test]
fn a_command_for_all_nodes_comes_in_its_place_between_two_blocks() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(script(&[&["MULTI"], &["SET", "b", "1"], &["DBSIZE"], &["INCR", "b"], &["PING"], &["EXEC"]]));
    c.receives(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    let a = rig.node(A);
    a.expects_bytes(script(&[&["MULTI"], &["SET", "b", "1"], &["EXEC"]])).expects_nothing();
    a.replies(b"+OK\r\n+QUEUED\r\n*1\r\n+OK\r\n");
    for (node, reply) in [(A, b":1\r\n"), (B, b":2\r\n"), (C, b":3\r\n")] {
        rig.node(node).expects(&["DBSIZE"]).expects_nothing().replies(reply);
    }
    c.receives_nothing();
    a.expects_bytes(script(&[&["MULTI"], &["INCR", "b"], &["PING"], &["EXEC"]])).expects_nothing();
    a.replies(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n:2\r\n+PONG\r\n");
    c.receives(b"*4\r\n+OK\r\n:6\r\n:2\r\n+PONG\r\n").receives_nothing();
}

#[test]
fn only_commands_of_the_proxy_need_no_node() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(script(&[
        &["MULTI"],
        &["CLIENT", "GETREDIR"],
        &["HELLO", "3"],
        &["CLIENT", "GETNAME"],
        &["MONITOR"],
    ]));
    c.receives(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    c.sends_cmd(&["EXEC"]);
    c.receives(b"*4\r\n:-1\r\n%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n");
    c.receives(b"_\r\n-ERR MONITOR isn't allowed for DENY BLOCKING client\r\n").receives_nothing();
    assert_eq!(rig.connects(A) + rig.connects(B) + rig.connects(C), 0);
}

#[test]
fn an_error_of_the_first_block_is_the_reply_and_nothing_else_is_carried_out() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(script(&[&["MULTI"], &["CLIENT", "SETNAME", "x"], &["INCR", "b"], &["FLUSHALL"], &["EXEC"]]));
    c.receives(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    let block = script(&[&["MULTI"], &["INCR", "b"], &["EXEC"]]);
    rig.node(A).expects_bytes(block).replies(b"+OK\r\n-OOM full\r\n").replies(ABORTED);
    c.receives(FULL);
    c.sends_cmd(&["CLIENT", "GETNAME"]).receives(b"$-1\r\n").receives_nothing();
    assert_eq!(rig.connects(B), 0);
}

#[test]
fn an_error_of_a_later_block_is_that_of_each_of_its_commands() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(script(&[&["MULTI"], &["DBSIZE"], &["INCR", "b"], &["INCR", "b"], &["EXEC"]]));
    c.receives(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n+QUEUED\r\n");
    for node in [A, B, C] {
        rig.node(node).expects(&["DBSIZE"]).replies(b":1\r\n");
    }
    let block = script(&[&["MULTI"], &["INCR", "b"], &["INCR", "b"], &["EXEC"]]);
    rig.node(A).expects_bytes(block).replies(b"+OK\r\n-OOM full\r\n+QUEUED\r\n").replies(ABORTED);
    c.receives([b"*3\r\n:3\r\n", FULL, FULL].concat());
}

#[test]
fn a_block_that_is_redirected_is_sent_again_as_a_whole() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(script(&[&["MULTI"], &["CLIENT", "GETREDIR"], &["INCR", "b"], &["EXEC"]]));
    c.receives(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    let block = script(&[&["MULTI"], &["INCR", "b"], &["EXEC"]]);
    rig.node(A)
        .expects_bytes(block.clone())
        .replies(b"+OK\r\n-MOVED 3300 127.0.0.1:7002\r\n")
        .replies(ABORTED);
    rig.node(B).expects_bytes(block).replies(b"+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
    c.receives(b"*2\r\n:-1\r\n:1\r\n").receives_nothing();
    assert_eq!(rig.hints(), [Hint::Moved(3300)]);
}

/// A node looks for keys in more places than the proxy does; the transaction was sent to it again and again.
#[test]
fn a_transaction_of_which_a_node_finds_keys_elsewhere_is_aborted() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(script(&[&["MULTI"], &["INCR", "b"], &["PING"], &["EXEC"]]))
        .receives(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    let a = rig.node(A);
    a.expects(&["MULTI"]).expects(&["INCR", "b"]).expects(&["PING"]).expects(&["EXEC"]);
    a.replies(b"+OK\r\n+QUEUED\r\n-MOVED 7365 127.0.0.1:7002\r\n").replies(ABORTED);
    c.receives(
        b"-EXECABORT Transaction discarded because of: CROSSSLOT Keys in request don't hash to the same slot\r\n",
    );
    assert_eq!(rig.connects(B), 0);
    rig.hints();
}

#[test]
fn with_watched_keys_the_proxys_own_commands_are_played_and_those_of_many_nodes_refused() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["WATCH", "b"]);
    let d = rig.dedicated(A);
    d.expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
    c.sends(script(&[&["MULTI"], &["CLIENT", "GETREDIR"], &["INCR", "b"], &["EXEC"]]));
    c.receives(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    d.expects_bytes(script(&[&["MULTI"], &["INCR", "b"], &["EXEC"]])).replies(b"+OK\r\n+QUEUED\r\n*-1\r\n");
    c.receives(b"*-1\r\n").receives_nothing();
    c.sends_cmd(&["WATCH", "b"]);
    d.expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
    c.sends(script(&[&["MULTI"], &["DBSIZE"], &["EXEC"]])).receives(b"+OK\r\n");
    c.receives(
        b"-ERR 'dbsize' is not supported inside MULTI with watched keys: it would part the transaction\r\n",
    );
    d.expects(&["UNWATCH"]).replies(b"+OK\r\n");
    c.receives(ABORTED).receives_nothing();
}

#[test]
fn a_client_that_goes_while_exec_is_played_leaves_nothing() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends(script(&[&["MULTI"], &["CLIENT", "GETREDIR"], &["INCR", "b"], &["EXEC"]]));
    c.receives(b"+OK\r\n+QUEUED\r\n+QUEUED\r\n");
    let a = rig.node(A);
    a.expects_bytes(script(&[&["MULTI"], &["INCR", "b"], &["EXEC"]]));
    c.resets();
    a.replies(b"+OK\r\n+QUEUED\r\n*1\r\n:1\r\n");
    let counters = rig.counters();
    assert_eq!((counters.clients, counters.in_flight), (0, 0));
}
