//! Bounds: what one client may have under way, what waits for one that does not read, time without a word, the end.

use std::time::Duration;

use crate::rig::{bulk, cmd, Rig, A, B};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Commands of one client per turn.
const PER_TURN: usize = 512;
/// Requests in flight of one client that is alone.
const IN_FLIGHT: usize = 1024;
/// The same in company, before three primaries.
const IN_COMPANY: usize = 48;

#[test]
fn a_client_with_100_000_commands_is_paused_and_others_are_served_in_between() {
    let rig = Rig::three();
    let (flood, other) = (rig.client(), rig.client());
    let get = cmd(&["GET", "b"]);
    rig.turn_by_turn();
    flood.sends(get.repeat(100_000));
    other.sends_cmd(&["STRLEN", "b"]);
    let (mut done, mut turns, mut other_done) = (0, 0, 0);
    while done < 100_000 {
        rig.turn();
        turns += 1;
        assert!(turns < 10_000, "{done} after {turns} turns");
        let commands = rig.node(A).takes_commands();
        let mine = commands.iter().filter(|c| c[0] == b"STRLEN").count();
        // Two turns of it; the first ones are held back until the node is greeted.
        let warm = turns > 2;
        assert!(!warm || commands.len() - mine <= 2 * PER_TURN, "{} commands in two turns", commands.len());
        rig.node(A).replies(b":1\r\n".repeat(commands.len()));
        rig.turn();
        done += flood.takes_received().len() / 4;
        // In every turn the other client's command goes out with those of the flood.
        if turns > 2 && flood.unread_len() > 0 {
            assert!(mine > 0 || other_done == 0, "the other client waits in turn {turns}");
        }
        if other.received_len() > 0 {
            other.receives(b":1\r\n").sends_cmd(&["STRLEN", "b"]);
            other_done += 1;
        }
    }
    assert!(other_done > 50, "{other_done} replies for the other client");
    rig.go_on();
    rig.leave_unfinished();
    rig.node(A).takes_commands();
}

#[test]
fn requests_in_flight_of_one_client_are_bounded() {
    let rig = Rig::three();
    let c = rig.client();
    let get = cmd(&["GET", "b"]);
    c.sends(get.repeat(10_000));
    assert_eq!(rig.node(A).takes_commands().len(), IN_FLIGHT);
    assert_eq!(c.unread_len(), (10_000 - IN_FLIGHT) * get.len());
    let mut answered = 0;
    while answered < 10_000 {
        let n = rig.counters().in_flight as usize;
        assert!((1..=IN_FLIGHT).contains(&n));
        rig.node(A).replies(b":1\r\n".repeat(n));
        answered += n;
        rig.node(A).takes_commands();
    }
    c.receives(b":1\r\n".repeat(10_000));
}

/// What one has in flight lies before what others ask for, at the nodes.
#[test]
fn a_client_in_company_may_have_fewer_requests_in_flight() {
    let rig = Rig::three();
    let (flood, other) = (rig.client(), rig.client());
    let get = cmd(&["GET", "b"]);
    let in_flight = |replies: &[u8]| {
        let n = rig.node(A).takes_commands().len();
        rig.node(A).replies(replies.repeat(n));
        n
    };
    let ask = || {
        other.sends_cmd(&["STRLEN", "b"]);
        rig.node(A).expects(&["STRLEN", "b"]).replies(b":1\r\n");
        other.receives(b":1\r\n");
    };
    flood.sends(&get);
    assert_eq!(in_flight(b":1\r\n"), 1);
    ask();
    flood.sends(get.repeat(3 * IN_FLIGHT));
    assert_eq!(in_flight(b":1\r\n"), IN_COMPANY);
    rig.advance_ms(99);
    assert_eq!(in_flight(b":1\r\n"), IN_COMPANY, "the other may ask again soon");
    rig.advance_ms(1);
    in_flight(b":1\r\n");
    assert_eq!(in_flight(b":1\r\n"), IN_FLIGHT, "nobody else has asked for a while");
    while rig.counters().in_flight > 0 {
        in_flight(b":1\r\n");
    }
    flood.receives(b":1\r\n".repeat(3 * IN_FLIGHT + 1));
}

/// Pipelines were cut into small pieces for a while after their client had asked for something alone.
#[test]
fn a_client_is_no_company_for_itself() {
    let rig = Rig::three();
    let (c, other) = (rig.client(), rig.client());
    let get = cmd(&["GET", "b"]);
    other.sends(&get);
    rig.node(A).expects(&["GET", "b"]).replies(b":1\r\n");
    other.receives(b":1\r\n");
    for gone in [false, true] {
        rig.advance_ms(if gone { 200 } else { 0 });
        c.sends(&get);
        rig.node(A).expects(&["GET", "b"]).replies(b":1\r\n");
        c.receives(b":1\r\n").sends(get.repeat(3 * IN_FLIGHT));
        let mut left = 3 * IN_FLIGHT;
        while left > 0 {
            let n = rig.node(A).takes_commands().len();
            // The first turn has begun before it was known that so much would come.
            let most = if gone && left < 3 * IN_FLIGHT { IN_FLIGHT } else { IN_COMPANY };
            assert_eq!(n, left.min(most));
            rig.node(A).replies(b":1\r\n".repeat(n));
            left -= n;
        }
        c.receives(b":1\r\n".repeat(3 * IN_FLIGHT));
    }
}

/// They wait for many replies anyway, and all of it has a price.
#[test]
fn clients_that_pipeline_are_no_company_for_one_another() {
    let rig = Rig::three();
    let (one, other) = (rig.client(), rig.client());
    let get = cmd(&["GET", "b"]);
    one.sends(get.repeat(20));
    other.sends(get.repeat(3 * IN_FLIGHT));
    assert_eq!(rig.node(A).takes_commands().len(), 20 + IN_FLIGHT);
    rig.leave_unfinished();
}

/// A turn is as long as what is taken in it, and whoever asks meanwhile waits for its end.
#[test]
fn many_floods_share_what_is_taken_in_a_turn() {
    let rig = Rig::three();
    let floods: Vec<_> = (0..10).map(|_| rig.client()).collect();
    rig.turn_by_turn();
    for flood in &floods {
        flood.sends(b"PING\r\n".repeat(2_000));
    }
    let mut done = 0;
    for turn in 0.. {
        rig.turn();
        let now: usize = floods.iter().map(|f| f.takes_received().len() / 7).sum();
        // In the first turn nobody knows yet how many there will be.
        assert!(turn == 0 || now <= 2 * 10 * 64, "{now} commands in turn {turn}");
        done += now;
        if done == 20_000 {
            break;
        }
        assert!(now > 0, "{done} in {turn} turns");
    }
    rig.go_on();
}

#[test]
fn bytes_in_flight_of_one_client_are_bounded() {
    let rig = Rig::three();
    let c = rig.client();
    let set = cmd(&[&b"SET"[..], b"b", &vec![b'x'; 1 << 20]]);
    c.sends(set.repeat(20));
    let mut done = 0;
    while done < 20 {
        let held = rig.node(A).received_len() / set.len();
        assert!((1..=5).contains(&held), "{held} MiB in flight");
        for _ in 0..held {
            rig.node(A).expects_bytes(&set);
        }
        rig.node(A).replies(b"+OK\r\n".repeat(held));
        done += held;
    }
    c.receives(b"+OK\r\n".repeat(20));
}

/// What the proxy answers itself has the same share of a turn, however often its client was put off before.
#[test]
fn a_flood_of_local_commands_has_the_same_share_of_every_turn() {
    let rig = Rig::three();
    let (flood, other) = (rig.client(), rig.client());
    rig.turn_by_turn();
    flood.sends(b"PING\r\n".repeat(20_000));
    let mut done = 0;
    for turn in 0..160 {
        other.sends(b"PING\r\n");
        rig.turn();
        other.receives(b"+PONG\r\n");
        let now = flood.takes_received().len() / 7;
        // In the first turn it is handed in by the read and by the ready list.
        assert!(now <= PER_TURN * 2, "{now} commands in turn {turn}");
        done += now;
    }
    assert_eq!(done, 20_000);
    rig.go_on();
}

#[test]
fn a_slow_reader_is_not_read_above_the_soft_limit_and_misses_nothing() {
    let rig = Rig::three();
    let (slow, other) = (rig.client(), rig.client());
    slow.takes(Some(0));
    let value = bulk(&vec![b'v'; 600 * 1024]);
    let mut asked = 0;
    for _ in 0..10 {
        slow.sends_cmd(&["GET", "b"]);
        if rig.node(A).received_len() > 0 {
            rig.node(A).expects(&["GET", "b"]).replies(&value);
            asked += 1;
        }
    }
    assert_eq!(asked, 2, "values asked for although nobody takes them");
    assert!(slow.unread_len() > 0);
    other.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    other.receives(b"$-1\r\n");
    slow.takes(None);
    while asked < 10 {
        let n = rig.counters().in_flight as usize;
        assert!(n > 0, "the client is not read again");
        for _ in 0..n {
            rig.node(A).expects(&["GET", "b"]).replies(&value);
        }
        asked += n;
    }
    assert!(slow.takes_received() == value.repeat(10));
}

/// A write behind its requests has been sent already: it cannot go elsewhere, so the node is read.
#[test]
fn a_client_that_reads_nothing_is_closed_at_the_output_limit_and_nobody_else_notices() {
    let rig = Rig::three_with(|c| c.client_output_limit = 100_000);
    let (slow, other) = (rig.client(), rig.client());
    slow.takes(Some(0)).sends(cmd(&["GET", "b"]).repeat(20));
    other.sends_cmd(&["INCR", "hello"]);
    slow.sends_cmd(&["GET", "b"]);
    let value = bulk(&vec![b'v'; 10_000]);
    let a = rig.node(A);
    assert_eq!(a.takes_commands().len(), 22);
    for _ in 0..8 {
        a.replies(&value);
    }
    slow.is_open();
    for _ in 0..12 {
        a.replies(&value);
    }
    slow.is_closed();
    a.replies(b":1\r\n").replies(&value);
    other.receives(b":1\r\n");
    assert_eq!(rig.counters().output_limit_closes, 1);
}

/// No client is above its own limit; the one that holds most has to go, and only when all of them hold too much.
#[test]
fn the_client_that_holds_most_is_closed_when_all_hold_too_much() {
    let rig = Rig::three_with(|c| c.max_memory = 1_600_000);
    let (most, less, other) = (rig.client(), rig.client(), rig.client());
    let value = bulk(&vec![b'v'; 200_000]);
    for (c, replies) in [(&most, 4), (&less, 2)] {
        c.takes(Some(0)).sends(cmd(&["GET", "b"]).repeat(replies));
        for _ in 0..replies {
            rig.node(A).expects(&["GET", "b"]);
        }
        rig.node(A).replies(value.repeat(replies));
    }
    rig.advance_ms(200);
    other.sends_cmd(&["PING"]).receives(b"+PONG\r\n");
    most.is_open();
    less.is_open().sends(cmd(&["GET", "b"]));
    rig.node(A).expects(&["GET", "b"]).replies(bulk(&vec![b'v'; 100_000]));
    // Half of a transaction, and of a request whose rest does not come.
    other.sends_cmd(&["MULTI"]).receives(b"+OK\r\n");
    other.sends(cmd(&[&b"SET"[..], b"b", &vec![b'x'; 200_000]])).receives(b"+QUEUED\r\n");
    let unfinished = rig.client();
    unfinished.sends(&cmd(&[&b"SET"[..], b"b", &vec![b'x'; 200_000]])[..190_000]);
    rig.advance_ms(200);
    rig.client().sends_cmd(&["PING"]).receives(b"+PONG\r\n");
    most.is_closed();
    less.is_open();
    other.is_open();
    unfinished.is_open();
    assert_eq!(rig.counters().memory_limit_closes, 1);
    rig.leave_unfinished();
}

#[test]
fn a_client_that_pipelines_more_than_its_output_limit_and_reads_late_gets_everything() {
    let rig = Rig::three_with(|c| c.client_output_limit = 100_000);
    let (late, other) = (rig.client(), rig.client());
    late.takes(Some(0)).sends(cmd(&["GET", "b"]).repeat(50));
    other.sends_cmd(&["GET", "b"]);
    let value = bulk(&vec![b'v'; 10_000]);
    let a = rig.node(A);
    assert_eq!(a.takes_commands().len(), 51);
    (0..2).for_each(|_| {
        a.replies(&value);
    });
    let a = a.behind(1);
    (0..48).for_each(|_| {
        a.replies(&value);
    });
    assert!(a.unread_len() > 400_000, "read without regard to its client");
    // What others have asked behind it is asked again elsewhere.
    rig.node(A).expects(&["GET", "b"]).replies(b"$1\r\n1\r\n");
    other.receives(b"$1\r\n1\r\n");
    late.is_open().takes(None).receives(value.repeat(50));
    a.replies(&value);
    assert_eq!((rig.counters().output_limit_closes, rig.open(A)), (0, 2));
    late.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    late.receives(b"$-1\r\n");
}

#[test]
fn replies_before_their_turn_wait_at_their_node_and_one_that_is_due_is_never_held_up() {
    let rig = Rig::three_with(|c| c.client_output_limit = 100_000);
    let c = rig.client();
    c.sends([cmd(&["GET", "b"]), cmd(&["GET", "c"]).repeat(50), cmd(&["GET", "b"])].concat());
    let value = bulk(&vec![b'v'; 10_000]);
    assert_eq!(rig.node(B).takes_commands().len(), 50);
    rig.node(B).replies_in_pieces(&value.repeat(50), 10_000);
    assert!(rig.node(B).unread_len() > 400_000, "read although nothing of it can be passed on");
    rig.node(A).expects(&["GET", "b"]).expects(&["GET", "b"]).replies(&value).replies(b"$-1\r\n");
    c.receives([value.repeat(51), b"$-1\r\n".to_vec()].concat());
    assert_eq!(rig.counters().output_limit_closes, 0);
}

/// One reply may be larger than the limit: a client that takes it is served.
#[test]
fn a_reply_above_the_output_limit_reaches_a_client_that_reads() {
    let rig = Rig::three_with(|c| c.client_output_limit = 100_000);
    let c = rig.client();
    let value = bulk(&vec![b'v'; 1_000_000]);
    c.takes(Some(50_000)).sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(&value);
    c.is_open().takes(None);
    assert!(c.takes_received() == value);
}

#[test]
fn an_idle_client_is_closed_and_one_that_waits_is_not() {
    let rig = Rig::three_with(|c| c.client_idle_timeout = ms(1000));
    let (idle, waiting, busy) = (rig.client(), rig.client(), rig.client());
    waiting.sends_cmd(&["GET", "b"]);
    for _ in 0..5 {
        rig.advance_ms(500);
        busy.sends_cmd(&["PING"]).receives(b"+PONG\r\n");
    }
    idle.is_closed();
    waiting.is_open();
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    waiting.receives(b"$-1\r\n");
    // It has just been answered: it may ask again.
    rig.advance_ms(900);
    waiting.is_open();
    rig.advance_ms(200);
    waiting.is_closed();
}

#[test]
fn a_client_that_takes_a_long_reply_slowly_is_not_idle() {
    let rig = Rig::three_with(|c| c.client_idle_timeout = ms(1000));
    let c = rig.client();
    c.takes(Some(0)).sends_cmd(&["GET", "b"]);
    let value = bulk(&[b'v'; 1000]);
    rig.node(A).expects(&["GET", "b"]).replies(&value);
    for _ in 0..10 {
        rig.advance_ms(500);
        c.takes(Some(100)).is_open();
    }
    c.takes(None).receives(&value);
}

/// A timer that finds its client busy must not come back every millisecond.
#[test]
fn a_client_that_waits_long_costs_no_timer_every_millisecond() {
    let rig = Rig::three_with(|c| {
        c.client_idle_timeout = ms(100);
        c.reply_timeout = ms(60_000);
    });
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    let before = rig.ticks();
    rig.advance_ms(10_000);
    assert!(rig.ticks() - before < 1000, "{} ticks in ten seconds", rig.ticks() - before);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
}

#[test]
fn an_orderly_stop_lets_every_client_finish() {
    let rig = Rig::three();
    let (idle, waiting, slow) = (rig.client(), rig.client(), rig.client());
    waiting.sends_cmd(&["GET", "b"]).sends_cmd(&["GET", "c"]);
    slow.takes(Some(2)).sends_cmd(&["PING"]).receives(b"+P");
    rig.drain();
    idle.is_closed();
    waiting.is_open();
    slow.is_open();
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    waiting.receives(b"$-1\r\n").is_open();
    rig.node(B).expects(&["GET", "c"]).replies(b"$-1\r\n");
    waiting.receives(b"$-1\r\n").is_closed();
    assert!(!rig.is_drained());
    slow.takes(None).receives(b"ONG\r\n").is_closed();
    assert!(rig.is_drained());
}

#[test]
fn an_orderly_stop_takes_in_what_has_arrived() {
    let rig = Rig::three();
    let c = rig.client();
    rig.turn_by_turn();
    c.sends([&b"PING\r\n".repeat(2000)[..], b"*1\r\n$4\r\nPI"].concat());
    rig.turn();
    rig.drain();
    rig.go_on();
    c.receives(b"+PONG\r\n".repeat(2000)).is_closed();
}

#[test]
fn an_orderly_stop_ends_at_the_drain_timeout() {
    let rig = Rig::three_with(|c| c.drain_timeout = ms(700));
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]);
    rig.drain();
    rig.advance_ms(690);
    c.is_open();
    rig.advance_ms(20);
    c.is_closed();
    assert!(rig.is_drained());
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
}
