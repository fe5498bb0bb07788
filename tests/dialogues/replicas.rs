//! Reads that may go to replicas, and where they go when a replica does not help.

use redis_cluster_proxy::config::ReadPrefer;

use crate::rig::{Rig, A, B, SLOTS_A, SLOTS_B, SLOTS_C};

const R1: &str = "10.2.0.1:7011";
const R2: &str = "10.1.0.2:7012";
/// Replica of [`B`].
const R3: &str = "10.2.0.3:7013";

/// Two shards; the first has two replicas, the second in the same two IPv4 segments as the proxy.
fn with_replicas(prefer: ReadPrefer) -> Rig {
    let rig = Rig::with(|c| c.read_prefer = prefer);
    rig.topology(&[(A, SLOTS_A), (B, SLOTS_B), (B, SLOTS_C)], &[(R1, A), (R2, A), (R3, B)]);
    rig
}

/// One replica, for scripts that need to know which.
fn with_one_replica() -> Rig {
    let rig = Rig::with(|c| c.read_prefer = ReadPrefer::Slave);
    rig.topology(&[(A, SLOTS_A), (B, SLOTS_B), (B, SLOTS_C)], &[(R1, A)]);
    rig
}

#[test]
fn by_default_everything_goes_to_primaries_and_nobody_is_told_readonly() {
    let rig = with_replicas(ReadPrefer::Master);
    rig.by_hand(A);
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).accepts().greets().expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
    assert_eq!(rig.connects(R1) + rig.connects(R2), 0);
}

#[test]
fn reads_go_to_a_replica_that_was_told_readonly_and_writes_to_the_primary() {
    let rig = with_one_replica();
    rig.by_hand(R1);
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]).sends_cmd(&["SET", "b", "1"]).sends_cmd(&["EVAL", "s", "1", "b"]);
    let r = rig.replica(R1);
    r.accepts()
        .expects(&["READONLY"])
        .expects(&["CLIENT", "SETNAME", "redis-cluster-proxy"])
        .expects_nothing();
    r.replies(b"+OK\r\n+OK\r\n").expects(&["GET", "b"]).expects_nothing().replies(b"$1\r\n0\r\n");
    rig.node(A).expects(&["SET", "b", "1"]).expects(&["EVAL", "s", "1", "b"]).replies(b"+OK\r\n:1\r\n");
    c.receives(b"$1\r\n0\r\n+OK\r\n:1\r\n");
}

#[test]
fn reads_are_spread_over_the_replicas() {
    let rig = with_replicas(ReadPrefer::Slave);
    let c = rig.client();
    for _ in 0..10 {
        c.sends_cmd(&["GET", "b"]);
    }
    for replica in [R1, R2] {
        let r = rig.replica(replica);
        assert_eq!(r.takes_commands().len(), 5);
        (0..5).for_each(|_| {
            r.replies(b"$-1\r\n");
        });
    }
    c.receives(b"$-1\r\n".repeat(10));
    assert_eq!(rig.connects(A), 0);
}

#[test]
fn a_shard_without_replicas_is_read_at_its_primary() {
    let rig = with_one_replica();
    let c = rig.client();
    c.sends_cmd(&["GET", "c"]);
    rig.node(B).expects(&["GET", "c"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
}

#[test]
fn parts_of_a_split_read_go_to_the_replicas_of_their_shards() {
    let rig = with_replicas(ReadPrefer::SlaveSameIdc);
    let c = rig.client();
    c.sends_cmd(&["MGET", "b", "c"]).sends_cmd(&["DEL", "b", "c"]);
    rig.replica(R2).expects(&["mget", "b"]).replies(b"*1\r\n$1\r\nB\r\n");
    rig.replica(R3).expects(&["mget", "c"]).replies(b"*1\r\n$1\r\nC\r\n");
    rig.node(A).expects(&["del", "b"]).replies(b":1\r\n");
    rig.node(B).expects(&["del", "c"]).replies(b":1\r\n");
    c.receives(b"*2\r\n$1\r\nB\r\n$1\r\nC\r\n:2\r\n");
}

#[test]
fn a_replica_of_the_same_data_centre_is_taken_where_that_is_asked_for() {
    let rig = with_replicas(ReadPrefer::SlaveSameIdc);
    let c = rig.client();
    for _ in 0..4 {
        c.sends_cmd(&["GET", "b"]);
        rig.replica(R2).expects(&["GET", "b"]).replies(b"$-1\r\n");
        c.receives(b"$-1\r\n");
    }
    // Another data centre is better than the primary, once it is known that the near replica cannot be reached.
    rig.refuse_connects(R2);
    rig.replica(R2).closes();
    c.sends_cmd(&["GET", "b"]);
    rig.advance_ms(4);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n").sends_cmd(&["GET", "b"]);
    rig.replica(R1).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
}

#[test]
fn a_replica_that_cannot_be_reached_is_replaced_by_the_primary() {
    let rig = with_one_replica();
    rig.refuse_connects(R1);
    let c = rig.client();
    for _ in 0..5 {
        c.sends_cmd(&["GET", "b"]);
        rig.advance_ms(5);
        rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
        c.receives(b"$-1\r\n");
    }
    assert!(rig.connects(R1) < 5);
}

/// Nothing is in the way of asking the primary at once.
#[test]
fn a_replica_that_is_loading_or_cut_off_is_replaced_by_the_primary_at_once() {
    for error in ["LOADING x", "MASTERDOWN x", "CLUSTERDOWN x"] {
        let rig = with_one_replica();
        let c = rig.client();
        c.sends_cmd(&["GET", "b"]);
        rig.replica(R1).expects(&["GET", "b"]).replies(format!("-{error}\r\n"));
        rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
        c.receives(b"$-1\r\n");
    }
}

#[test]
fn a_read_in_flight_at_a_lost_replica_is_asked_of_the_primary() {
    let rig = with_one_replica();
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.replica(R1).expects(&["GET", "b"]).closes();
    rig.advance_ms(10);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
}

/// After a failover the replica follows another primary.
#[test]
fn a_replica_of_another_shard_that_answers_moved_makes_no_loop() {
    let rig = with_one_replica();
    let c = rig.client();
    for _ in 0..3 {
        c.sends_cmd(&["GET", "b"]);
        rig.replica(R1).expects(&["GET", "b"]).replies(b"-MOVED 3300 127.0.0.1:7001\r\n").expects_nothing();
        rig.node(A).expects(&["GET", "b"]).expects_nothing().replies(b"$-1\r\n");
        c.receives(b"$-1\r\n");
    }
}

#[test]
fn readonly_and_readwrite_choose_for_one_client() {
    let rig = Rig::with(|_| {});
    rig.topology(&[(A, SLOTS_A)], &[(R1, A)]);
    let (c1, c2) = (rig.client(), rig.client());
    c1.sends_cmd(&["READONLY"]).receives(b"+OK\r\n");
    c1.sends_cmd(&["GET", "b"]);
    c2.sends_cmd(&["GET", "b"]);
    rig.replica(R1).expects(&["GET", "b"]).expects_nothing();
    rig.node(A).expects(&["GET", "b"]).expects_nothing().replies(b"$1\r\nA\r\n");
    c2.receives(b"$1\r\nA\r\n");
    // What follows must not overtake what is in flight to the replica.
    c1.sends_cmd(&["READWRITE"]).sends_cmd(&["GET", "b"]);
    rig.node(A).expects_nothing();
    rig.replica(R1).replies(b"$1\r\nR\r\n");
    rig.node(A).expects(&["GET", "b"]).replies(b"$1\r\nA\r\n");
    c1.receives(b"$1\r\nR\r\n+OK\r\n$1\r\nA\r\n");
}

#[test]
fn a_resp3_client_reads_replicas_in_resp3() {
    let rig = with_one_replica();
    rig.by_hand(R1);
    let c = rig.client();
    c.sends_cmd(&["HELLO", "3"]).takes_received();
    c.sends_cmd(&["GET", "b"]);
    let r = rig.replica(R1);
    r.accepts().expects(&["HELLO", "3"]).expects(&["READONLY"]).expects(&[
        "CLIENT",
        "SETNAME",
        "redis-cluster-proxy",
    ]);
    r.replies(b"%1\r\n+proto\r\n:3\r\n+OK\r\n+OK\r\n").expects(&["GET", "b"]).replies(b"_\r\n");
    c.receives(b"_\r\n");
}

/// A replica may be behind what WATCH has seen: what is read there would be written back over newer data.
#[test]
fn what_is_read_between_watch_and_exec_comes_from_the_primary() {
    let rig = with_one_replica();
    let c = rig.client();
    c.sends_cmd(&["WATCH", "b"]);
    rig.node(A).expects(&["WATCH", "b"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n").sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$1\r\n7\r\n");
    c.receives(b"$1\r\n7\r\n").sends_cmd(&["MGET", "b", "{b}2"]);
    rig.node(A).expects(&["MGET", "b", "{b}2"]).replies(b"*2\r\n$1\r\n7\r\n$-1\r\n");
    c.receives(b"*2\r\n$1\r\n7\r\n$-1\r\n").sends_cmd(&["UNWATCH"]).receives(b"+OK\r\n");
    rig.node(A).behind(1).expects(&["UNWATCH"]).replies(b"+OK\r\n");
    assert_eq!(rig.connects(R1), 0);
    c.sends_cmd(&["GET", "b"]);
    rig.replica(R1).expects(&["GET", "b"]).replies(b"$1\r\n7\r\n");
    c.receives(b"$1\r\n7\r\n");
}

/// A replica may be behind the message that a key has changed: what it gave after that would be kept for good.
#[test]
fn reads_of_a_tracking_client_go_to_the_primary() {
    let rig = with_one_replica();
    let c = rig.client();
    c.sends_cmd(&["CLIENT", "TRACKING", "ON"]);
    for primary in [A, B] {
        rig.resp3(primary).expects(&["CLIENT", "TRACKING", "ON", "BCAST"]).replies(b"+OK\r\n");
    }
    c.receives(b"+OK\r\n").sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$1\r\n1\r\n");
    c.receives(b"$1\r\n1\r\n");
    assert_eq!(rig.connects(R1), 0);
    c.sends_cmd(&["CLIENT", "TRACKING", "OFF"]).receives(b"+OK\r\n");
    for primary in [A, B] {
        rig.resp3(primary).expects(&["CLIENT", "TRACKING", "OFF"]).replies(b"+OK\r\n");
    }
    c.sends_cmd(&["GET", "b"]);
    rig.replica(R1).expects(&["GET", "b"]).replies(b"$1\r\n1\r\n");
    c.receives(b"$1\r\n1\r\n");
}
