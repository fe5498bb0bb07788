//! Commands that are refused: by the table, and by the operator. The engine without a cluster.

use std::net::SocketAddr;
use std::sync::Arc;

use redis_cluster_proxy::base::time::Time;
use redis_cluster_proxy::config::{self, Config, Invocation};
use redis_cluster_proxy::proxy::{Engine, Surroundings};

/// What a client gets for these inline commands from a proxy that refuses `names`.
fn replies(names: &str, commands: &str) -> String {
    let around = Surroundings {
        worker: 0,
        workers: 1,
        seed: 1,
        local_ip: None,
        started: Time::default(),
        port: 1,
        pid: 1,
    };
    let mut engine = Engine::new(Arc::new(with_flag(names).unwrap()), around, Time::default());
    let client = engine.client_opened(SocketAddr::from(([127, 0, 0, 1], 9)));
    engine.client_bytes(client, format!("{commands}\n").as_bytes());
    String::from_utf8_lossy(engine.client_output(client)).replace("\r\n", "|")
}

fn with_flag(names: &str) -> Result<Config, String> {
    let args = ["-refuse-commands", names].map(Into::into);
    match config::from_args(args.into_iter()).map_err(|e| e.to_string())? {
        Invocation::Run(settings) => Ok(settings.proxy),
        other => panic!("{other:?}"),
    }
}

fn refused(name: &str) -> String {
    format!("-ERR '{name}' is refused by this proxy (-refuse-commands)|")
}

#[test]
fn the_operator_refuses_commands_containers_and_subcommands() {
    assert_eq!(replies("flushall, echo", "FlushAll\nPING\nECHO x"), {
        refused("flushall") + "+PONG|" + &refused("echo")
    });
    assert_eq!(replies("client", "CLIENT ID\nPING"), refused("client|id") + "+PONG|");
    assert_eq!(replies("client|id", "CLIENT ID\nCLIENT GETNAME"), refused("client|id") + "$-1|");
    assert_eq!(replies("", "ECHO x"), "$1|x|");
}

#[test]
fn mistakes_come_before_refusals_as_they_do_before_everything() {
    let arity = "-ERR wrong number of arguments for 'echo' command|";
    assert_eq!(replies("echo", "ECHO"), arity);
}

#[test]
fn a_refused_command_spoils_a_transaction() {
    let aborted = "-EXECABORT Transaction discarded because of previous errors.|";
    let expected = format!("+OK|{}+QUEUED|{aborted}", refused("echo"));
    assert_eq!(replies("echo", "MULTI\nECHO x\nPING\nEXEC"), expected);
}

#[test]
fn names_are_checked_for_their_form() {
    assert_eq!(
        with_flag(" GET ,config|Set,ft.search").unwrap().refused_commands,
        ["get", "config|set", "ft.search"]
    );
    for bad in ["config set", "a|b|c", "|", "get|", "a\u{e9}"] {
        let error = with_flag(bad).unwrap_err();
        assert!(error.contains("-refuse-commands") && error.contains("flushall,config"), "{error}");
    }
}

#[test]
fn exec_fails_after_a_client_that_monitors_asked_for_data() {
    let reply = replies("", "MONITOR\nMULTI\nGET a\nEXEC");
    assert!(reply.starts_with("+OK|+OK|"), "{reply}");
    assert!(reply.contains("|-ERR Replica can't interact with the keyspace|"), "{reply}");
    assert!(reply.contains("|-EXECABORT Transaction discarded because of previous errors.|"), "{reply}");
}

#[test]
fn a_client_cannot_lock_the_proxy_out_of_the_cluster_by_config_set() {
    for line in
        ["CONFIG SET requirepass x", "config set maxmemory 1gb REQUIREPASS x", "CONFIG SET masterauth x"]
    {
        let reply = replies("", line);
        assert!(reply.starts_with("-ERR CONFIG SET ") && reply.contains("passwords are changed"), "{reply}");
    }
    let reply = replies("", "CONFIG SET port 7000");
    assert!(reply.starts_with("-ERR CONFIG SET port is not available"), "{reply}");
    // What is no name of a setting but a value goes on, here to a cluster that is not there.
    let reply = replies("", "CONFIG SET maxmemory port");
    assert!(reply.starts_with("-CLUSTERDOWN"), "{reply}");
}

#[test]
fn waitaof_is_refused_with_its_reason() {
    let reply = replies("", "WAITAOF 0 0 10");
    assert!(reply.starts_with("-ERR WAITAOF is not available through the proxy: "), "{reply}");
    assert!(reply.contains("shared by many clients"), "{reply}");
}
