//! Passwords: of clients towards the proxy, and of the proxy towards the nodes.

use redis_cluster_proxy::proxy::Hint;

use crate::rig::{at, cmd, Rig, A, B};

fn guarded() -> Rig {
    Rig::three_with(|c| c.password = "secret".into())
}

const NO_AUTH: &[u8] = b"-NOAUTH Authentication required.\r\n";
const WRONG: &[u8] = b"-WRONGPASS invalid username-password pair or user is disabled.\r\n";

#[test]
fn nothing_is_done_for_a_client_that_has_not_said_who_it_is() {
    let rig = guarded();
    let c = rig.client();
    c.sends_cmd(&["GET", "b"]).receives(NO_AUTH);
    c.sends_cmd(&["PING"]).receives(NO_AUTH);
    c.sends_cmd(&["MGET", "a", "b"]).receives(NO_AUTH);
    c.sends_cmd(&["CLIENT", "NONE"]).receives(b"-ERR unknown subcommand 'NONE'. Try CLIENT HELP.\r\n");
    c.sends_cmd(&["EXEC"])
        .receives(b"-EXECABORT Transaction discarded because of: NOAUTH Authentication required.\r\n");
    c.sends_cmd(&["HELLO"])
        .receives_error("NOAUTH HELLO must be called with the client already authenticated", &[]);
    c.sends_cmd(&["HELLO", "3"]).receives_error("NOAUTH HELLO", &[]);
    c.sends_cmd(&["FOO"]).receives_error("ERR unknown command 'FOO'", &[]);
    assert_eq!(rig.connects(A), 0);
    c.sends_cmd(&["QUIT"]).receives(b"+OK\r\n").is_closed();
}

#[test]
fn the_password_of_the_nodes_lets_a_client_in() {
    let rig = guarded();
    let c = rig.client();
    c.sends_cmd(&["AUTH", "wrong"]).receives(WRONG);
    c.sends_cmd(&["AUTH", "secre"]).receives(WRONG);
    c.sends_cmd(&["AUTH", "secrets"]).receives(WRONG);
    c.sends_cmd(&["AUTH", "other", "secret"]).receives(WRONG);
    c.sends_cmd(&["AUTH", "default", "secret", "x"]).receives(b"-ERR syntax error\r\n");
    c.sends_cmd(&["GET", "b"]).receives(NO_AUTH);
    c.sends_cmd(&["AUTH", "secret"]).receives(b"+OK\r\n");
    c.sends_cmd(&["GET", "b"]);
    rig.node(A).expects(&["GET", "b"]).replies(b"$-1\r\n");
    c.receives(b"$-1\r\n");
    // A later failure does not lock it out.
    c.sends_cmd(&["AUTH", "wrong"]).receives(WRONG);
    c.sends_cmd(&["PING"]).receives(b"+PONG\r\n");
}

#[test]
fn hello_may_bring_the_password() {
    let rig = guarded();
    let c = rig.client();
    c.sends_cmd(&["HELLO", "3", "AUTH", "default", "wrong"]).receives(WRONG);
    c.sends_cmd(&["PING"]).receives(NO_AUTH);
    c.sends_cmd(&["HELLO", "3", "AUTH", "default", "secret", "SETNAME", "me"]);
    assert!(c.takes_received().starts_with(b"%7\r\n"));
    c.sends_cmd(&["CLIENT", "GETNAME"]).receives(b"$2\r\nme\r\n");
}

#[test]
fn auth_and_commands_may_come_in_one_pipeline() {
    let rig = guarded();
    let c = rig.client();
    let many: Vec<String> = (0..20).map(|i| format!("{{b}}{i}")).collect();
    let mget: Vec<&str> = ["MGET"].into_iter().chain(many.iter().map(String::as_str)).collect();
    // More arguments than a stranger may send, behind the AUTH that makes it none.
    c.sends([cmd(&["PING"]), cmd(&["AUTH", "secret"]), cmd(&mget)].concat());
    rig.node(A).expects(&mget).replies(b"*0\r\n");
    c.receives(NO_AUTH).receives(b"+OK\r\n*0\r\n");
}

#[test]
fn a_stranger_may_send_ten_arguments_of_16_kib() {
    let within = cmd(&["AUTH"; 10]);
    let long = vec![b'x'; 16 * 1024];
    let c = guarded().client();
    c.sends(within).receives(b"-ERR syntax error\r\n");
    c.sends_cmd(&[b"AUTH", &long[..]]).receives(WRONG).is_open();
    c.sends(cmd(&["AUTH"; 11]))
        .receives(b"-ERR Protocol error: unauthenticated multibulk length\r\n")
        .is_closed();
    let c = guarded().client();
    c.sends(b"*2\r\n$4\r\nAUTH\r\n$16385\r\n");
    c.receives(b"-ERR Protocol error: unauthenticated bulk length\r\n").is_closed();
}

#[test]
fn reset_makes_a_client_a_stranger_again() {
    let rig = guarded();
    let c = rig.client();
    c.sends_cmd(&["AUTH", "secret"]).sends_cmd(&["RESET"]).sends_cmd(&["PING"]);
    c.receives(b"+OK\r\n+RESET\r\n").receives(NO_AUTH);
}

#[test]
fn without_a_password_auth_is_refused_and_the_default_user_let_in() {
    let rig = Rig::three();
    let c = rig.client();
    c.sends_cmd(&["AUTH", "x"]).receives_error(
        "ERR AUTH <password> called without any password configured for the default user.",
        &[],
    );
    c.sends_cmd(&["AUTH", "default", "x"]).receives(b"+OK\r\n");
    c.sends_cmd(&["AUTH", "other", "x"]).receives(WRONG);
    c.sends_cmd(&["PING"]).receives(b"+PONG\r\n");
}

#[test]
fn user_data_follows_only_when_the_whole_greeting_was_accepted() {
    let rig = guarded();
    rig.by_hand(A);
    let c = rig.client();
    c.sends_cmd(&["AUTH", "secret"]).receives(b"+OK\r\n");
    c.sends_cmd(&["SET", "b", "1"]);
    let a = rig.node(A);
    a.expects_nothing().accepts();
    a.expects(&["AUTH", "secret"]).expects(&["CLIENT", "SETNAME", "redis-cluster-proxy"]).expects_nothing();
    a.replies(b"+OK\r\n").expects_nothing();
    a.replies(b"+OK\r\n").expects(&["SET", "b", "1"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
}

#[test]
fn a_rejected_password_is_the_proxys_error_and_no_data_is_sent() {
    let rig = guarded();
    rig.by_hand(A);
    let c = rig.client();
    c.sends_cmd(&["AUTH", "secret"]).receives(b"+OK\r\n");
    c.sends([cmd(&["SET", "b", "1"]), cmd(&["GET", "b"])].concat());
    let a = rig.node(A);
    a.accepts().expects(&["AUTH", "secret"]).expects(&["CLIENT", "SETNAME", "redis-cluster-proxy"]);
    a.replies(WRONG);
    for _ in 0..2 {
        c.receives_error("ERR the proxy could not log in to node 127.0.0.1:7001", &["WRONGPASS"]);
    }
    assert_eq!(rig.open(A), 0);
    assert!(rig.hints().contains(&Hint::NodeLost(at(A))));
}

/// The next command does not hurry after a rejected password, and is sent once the node accepts it.
#[test]
fn after_a_rejected_password_the_next_login_waits() {
    let rig = guarded();
    rig.by_hand(A);
    let c = rig.client();
    c.sends_cmd(&["AUTH", "secret"]).receives(b"+OK\r\n");
    c.sends_cmd(&["SET", "b", "1"]);
    rig.node(A).accepts().expects(&["AUTH", "secret"]).replies(WRONG);
    c.receives_error("ERR the proxy could not log in", &[]);
    c.sends_cmd(&["SET", "b", "2"]).receives_nothing();
    assert_eq!(rig.connects(A), 1);
    rig.accept_connects(A);
    rig.advance_ms(100);
    rig.node(A).expects(&["SET", "b", "2"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
    assert_eq!(rig.connects(A), 2);
}

#[test]
fn a_node_that_wants_a_password_the_proxy_has_not_is_named() {
    let rig = Rig::three();
    rig.by_hand(B);
    let c = rig.client();
    c.sends_cmd(&["SET", "c", "1"]);
    rig.node(B).accepts().expects(&["CLIENT", "SETNAME", "redis-cluster-proxy"]).replies(NO_AUTH);
    c.receives_error("ERR the proxy could not log in to node 127.0.0.1:7002", &["NOAUTH"]);
}

#[test]
fn a_node_that_forbids_client_setname_is_used_all_the_same() {
    let rig = Rig::three();
    rig.by_hand(B);
    let c = rig.client();
    c.sends_cmd(&["SET", "c", "1"]);
    let b = rig.node(B);
    b.accepts().expects(&["CLIENT", "SETNAME", "redis-cluster-proxy"]);
    b.replies(b"-NOPERM this user has no permissions to run the 'client|setname' command\r\n");
    b.expects(&["SET", "c", "1"]).replies(b"+OK\r\n");
    c.receives(b"+OK\r\n");
}

/// Such a node says so when it accepts and closes at once; it has executed nothing.
#[test]
fn a_node_that_is_full_is_tried_again_and_gets_no_data() {
    for full in [
        &b"-ERR max number of clients reached\r\n"[..],
        b"-ERR max number of clients + cluster connections reached\r\n",
    ] {
        let rig = Rig::three();
        rig.by_hand(B);
        let c = rig.client();
        c.sends_cmd(&["SET", "c", "1"]);
        rig.node(B).accepts().expects(&["CLIENT", "SETNAME", "redis-cluster-proxy"]).replies(full);
        c.receives_nothing();
        assert_eq!(rig.open(B), 0);
        rig.accept_connects(B);
        rig.advance_ms(100);
        rig.node(B).expects(&["SET", "c", "1"]).replies(b"+OK\r\n");
        c.receives(b"+OK\r\n");
    }
}

#[test]
fn a_node_in_protected_mode_is_named() {
    let rig = Rig::three();
    rig.by_hand(B);
    let c = rig.client();
    c.sends_cmd(&["SET", "c", "1"]);
    rig.node(B).accepts().expects(&["CLIENT", "SETNAME", "redis-cluster-proxy"]);
    rig.node(B).replies(b"-DENIED Redis is running in protected mode because protected mode is enabled\r\n");
    c.receives_error("ERR the proxy could not log in to node 127.0.0.1:7002", &["DENIED"]);
}

#[test]
fn a_stranger_is_closed_after_the_auth_timeout_whatever_it_says_meanwhile() {
    let rig = Rig::three_with(|c| {
        c.password = "secret".into();
        c.auth_timeout = std::time::Duration::from_secs(2);
    });
    let (silent, busy, known) = (rig.client(), rig.client(), rig.client());
    known.sends_cmd(&["AUTH", "secret"]).receives(b"+OK\r\n");
    for _ in 0..3 {
        rig.advance_ms(500);
        busy.sends_cmd(&["PING"]).receives(NO_AUTH);
    }
    silent.is_open();
    rig.advance_ms(600);
    silent.is_closed();
    busy.is_closed();
    rig.advance_ms(100_000);
    known.is_open();
}

/// RESET forgets who a client is; it has been let in once, and is not hurried again.
#[test]
fn a_client_that_resets_is_no_stranger() {
    let rig = Rig::three_with(|c| {
        c.password = "secret".into();
        (c.auth_timeout, c.client_idle_timeout) =
            (std::time::Duration::from_secs(2), std::time::Duration::from_secs(5));
    });
    let c = rig.client();
    c.sends_cmd(&["AUTH", "secret"]).receives(b"+OK\r\n");
    rig.advance_ms(3000);
    c.sends_cmd(&["RESET"]).receives(b"+RESET\r\n");
    rig.advance_ms(4000);
    c.is_open();
    rig.advance_ms(1500);
    c.is_closed();
}

/// All that strangers get is errors: a flood of them does not take from the others what the proxy can do.
#[test]
fn a_flood_of_strangers_is_answered_little_by_little() {
    const AT_ONCE: usize = 128;
    let rig = Rig::three_with(|config| config.password = "secret".into());
    let (flood, late, known) = (rig.client(), rig.client(), rig.client());
    known.sends_cmd(&["AUTH", "secret"]).receives(b"+OK\r\n");
    rig.advance_ms(20);
    flood.sends(cmd(&["GET", "a"]).repeat(3 * AT_ONCE)).receives(NO_AUTH.repeat(AT_ONCE));
    late.sends(cmd(&["GET", "a"])).sends_cmd(&["AUTH", "secret"]).receives_nothing();
    known.sends_cmd(&["PING"]).receives(b"+PONG\r\n");
    rig.advance_ms(10);
    flood.receives(NO_AUTH.repeat(AT_ONCE));
    rig.advance_ms(20);
    late.receives([NO_AUTH, b"+OK\r\n"].concat());
    flood.receives(NO_AUTH.repeat(AT_ONCE));
    flood.sends_cmd(&["AUTH", "secret"]).receives(b"+OK\r\n");
}
