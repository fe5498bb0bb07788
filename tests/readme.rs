//! The tables of README.md are those of the code. `UPDATE_README=1 cargo test --test readme` writes them anew.

use std::net::SocketAddr;
use std::sync::Arc;

use redis_cluster_proxy::base::time::Time;
use redis_cluster_proxy::command::{self, Class, Command, Keys, Local, Split};
use redis_cluster_proxy::config::{self, Config};
use redis_cluster_proxy::net::admin::{self, AdminParts};
use redis_cluster_proxy::net::topology;
use redis_cluster_proxy::proxy::{Engine, Surroundings};
use redis_cluster_proxy::resp::encode;

#[path = "support/http.rs"]
#[allow(dead_code)]
mod http;

const README: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");

#[test]
fn tables_are_those_of_the_code() {
    let old = std::fs::read_to_string(README).unwrap();
    let tables = [
        ("flags", config::flags_markdown()),
        ("commands", commands_markdown()),
        ("refused", refused_markdown()),
    ];
    let new = tables.iter().fold(old.clone(), |text, (name, table)| with_table(&text, name, table));
    if std::env::var_os("UPDATE_README").is_some() {
        std::fs::write(README, &new).unwrap();
        return;
    }
    let faults: Vec<String> = new
        .lines()
        .zip(old.lines())
        .filter(|(new, old)| new != old)
        .take(3)
        .map(|(new, old)| format!("is:        {old}\nshould be: {new}"))
        .collect();
    assert!(
        new == old,
        "the tables of README.md are not those of the code; UPDATE_README=1 cargo test --test readme writes:\n{}\n\n\
         first differences:\n{}",
        tables.map(|(_, table)| table).join("\n"),
        faults.join("\n")
    );
}

/// Figures that only show up later (the age of a topology) or not on every system stand in the README as well, so this
/// looks in one direction only.
#[test]
fn every_metric_is_listed() {
    let readme = std::fs::read_to_string(README).unwrap();
    let missing: Vec<String> =
        metric_rows(&metrics_page()).into_iter().filter(|row| !readme.lines().any(|l| l == row)).collect();
    assert!(missing.is_empty(), "README.md does not have:\n{}", missing.join("\n"));
}

#[test]
fn every_link_leads_somewhere() {
    for file in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"] {
        let text = std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        for target in
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
        {
            let path = target.split('#').next().unwrap_or_default();
            let local = !path.is_empty() && !path.contains("://");
            let there = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists();
            assert!(!local || there, "{file} links to {target}");
        }
    }
}

/// `text` with what stands between the two marks of `name` replaced.
fn with_table(text: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name}: begin -->\n"), format!("<!-- {name}: end -->"));
    let parts = text.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) = parts.unwrap_or_else(|| panic!("README.md has no marks for {name}"));
    format!("{before}{begin}\n{table}\n{end}{after}")
}

/// What becomes of a command. The order is that of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    OneKey,
    OneSlot,
    Split,
    Waits,
    Atomic,
    EveryPrimary,
    EveryNode,
    Walks,
    Replicas,
    Subscribes,
    AnyPrimary,
    View,
    Watches,
    Answered,
    NotYet(&'static str),
    Refused,
}

impl Fate {
    fn title(self) -> String {
        match self {
            Fate::OneKey => "work: sent to the node of their key".into(),
            Fate::OneSlot => {
                "work when all their keys are in one slot, else `CROSSSLOT`; without a key they go to any \
                primary"
                    .into()
            }
            Fate::Split => "work across slots: split, and merged into one reply".into(),
            Fate::Waits => {
                "may wait: on a connection of their own meanwhile; all their keys in one slot".into()
            }
            Fate::Atomic => "transactions, atomic: all their keys in one slot".into(),
            Fate::EveryPrimary => "sent to every primary, and merged into one reply".into(),
            Fate::EveryNode => "sent to every node, and merged into one reply".into(),
            Fate::Replicas => {
                "waits until replicas of every primary have what this client has written".into()
            }
            Fate::Walks => "walks all primaries; the cursor says where it is".into(),
            Fate::Subscribes => "subscriptions, shared by the clients of a worker".into(),
            Fate::View => "answered as by a cluster of one node, the proxy".into(),
            Fate::Watches => "shows what passes through this proxy, all workers".into(),
            Fate::AnyPrimary => "sent to any primary; the answer is that of this one node".into(),
            Fate::Answered => "answered by the proxy".into(),
            Fate::NotYet(theme) => format!("not in this version: {theme}"),
            Fate::Refused => "refused, see below".into(),
        }
    }
}

fn fate(row: &'static Command) -> Fate {
    let reply = reply_without_cluster(row);
    if let Class::Refused(why) = row.class {
        assert_eq!(reply, format!("-ERR {why}\r\n"));
        return Fate::Refused;
    }
    if reply.contains("is not supported by this version of the proxy") {
        return Fate::NotYet(theme(row));
    }
    match row.class {
        Class::Transaction => return Fate::Atomic,
        Class::Blocking => return Fate::Waits,
        Class::EveryPrimary(_) => return Fate::EveryPrimary,
        Class::EveryNode(_) => return Fate::EveryNode,
        Class::Scan => return Fate::Walks,
        Class::Wait => return Fate::Replicas,
        Class::PubSub | Class::Publish => return Fate::Subscribes,
        Class::ClusterView => return Fate::View,
        Class::Monitor => return Fate::Watches,
        _ => {}
    }
    // What goes to a node is answered so as long as there is none.
    if !reply.starts_with("-CLUSTERDOWN The proxy has not reached any node") {
        assert!(matches!(row.class, Class::Local(_) | Class::Info), "{}: {reply}", name(row));
        return Fate::Answered;
    }
    match (row.class, row.keys) {
        // Only a node knows which databases there are.
        (Class::Local(Local::Select), _) => Fate::Answered,
        (Class::Slot, Keys::Range { first, last, .. }) if i16::from(first) == i16::from(last) => Fate::OneKey,
        (Class::Slot, _) => Fate::OneSlot,
        (Class::Split(Split::Values | Split::Pairs | Split::Sum), _) => Fate::Split,
        (Class::AnyPrimary, _) => Fate::AnyPrimary,
        (class, _) => panic!("{}: {class:?} goes to a node", name(row)),
    }
}

fn theme(row: &Command) -> &'static str {
    match row.class {
        Class::EveryPrimary(_) => "every primary, merged",
        Class::EveryNode(_) => "every node, merged",
        Class::Scan => "walking the key space",
        Class::Blocking => "blocking",
        Class::Transaction => "transactions",
        Class::PubSub | Class::Publish => "subscriptions",
        Class::ClusterView => "the cluster as one node",
        Class::Local(_) => "the rest of CLIENT",
        Class::Monitor => "watching",
        class => panic!("{}: {class:?} is not carried out", name(row)),
    }
}

fn commands_markdown() -> String {
    let mut fates: Vec<(Fate, String)> = leaves().into_iter().map(|row| (fate(row), name(row))).collect();
    fates.retain(|(fate, _)| *fate != Fate::Refused);
    fates.sort();
    let mut out = String::from("| what happens | commands |\n|---|---|\n");
    for group in fates.chunk_by(|a, b| a.0 == b.0) {
        let names: Vec<&str> = group.iter().map(|(_, name)| name.as_str()).collect();
        out.push_str(&format!("| {} | {} |\n", group[0].0.title(), names.join(", ")));
    }
    out
}

fn refused_markdown() -> String {
    let why = |row: &Command| match row.class {
        Class::Refused(why) => Some((why, name(row))),
        _ => None,
    };
    let mut reasons: Vec<(&str, String)> = leaves().into_iter().filter_map(why).collect();
    reasons.sort();
    let mut out = String::from("| refused | the error, behind `ERR` |\n|---|---|\n");
    for group in reasons.chunk_by(|a, b| a.0 == b.0) {
        let names: Vec<&str> = group.iter().map(|(_, name)| name.as_str()).collect();
        out.push_str(&format!("| {} | {} |\n", names.join(", "), group[0].0));
    }
    out
}

/// All rows that decide about a request.
fn leaves() -> Vec<&'static Command> {
    let own = |c: &&'static Command| c.class != Class::Container;
    command::commands().iter().flat_map(|c| std::iter::once(c).filter(own).chain(c.subcommands)).collect()
}

fn name(row: &Command) -> String {
    format!("{} {}", row.container(), row.name).trim().to_uppercase()
}

/// What an engine that knows no node answers to the command with as few arguments as it takes.
fn reply_without_cluster(row: &Command) -> String {
    let local: SocketAddr = "127.0.0.1:50000".parse().unwrap();
    let around = Surroundings {
        worker: 0,
        workers: 1,
        seed: 1,
        local_ip: None,
        started: Time::default(),
        port: 8088,
        pid: 1,
    };
    let mut engine = Engine::new(Arc::new(Config::for_tests()), around, Time::default());
    let client = engine.client_opened(local);
    let mut args: Vec<String> = name(row).split(' ').map(str::to_owned).collect();
    args.resize(usize::from(row.arity.unsigned_abs()).max(args.len()), "1".into());
    let mut request = Vec::new();
    encode::request(&mut request, &args);
    engine.client_bytes(client, &request);
    String::from_utf8_lossy(engine.client_output(client)).into_owned()
}

/// The page of an admin server whose cluster is away.
fn metrics_page() -> String {
    let nobody = vec!["127.0.0.1:1".to_owned()];
    let config = Config { startup_nodes: nobody, ..Config::for_tests() };
    let topology = topology::spawn(Arc::new(config), Vec::new()).unwrap();
    let parts =
        AdminParts { workers: Vec::new(), topology: topology.clone(), set_log_level: Box::new(|_| ()) };
    let admin = admin::spawn("127.0.0.1:0", parts).unwrap();
    let page = http::get(admin.addr().port(), "/metrics").text();
    admin.stop();
    topology.stop();
    page
}

fn metric_rows(page: &str) -> Vec<String> {
    let heads = page.lines().filter_map(|l| l.strip_prefix("# HELP ")?.split_once(' '));
    heads
        .map(|(name, help)| {
            let kind = page.lines().find_map(|l| l.strip_prefix(&format!("# TYPE {name} ")));
            format!("| `{name}` | {} | {help} |", kind.unwrap_or("untyped"))
        })
        .collect()
}
