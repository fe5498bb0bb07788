//! The command table, the search for keys, the slots and the error texts against a live `redis-server`.
//!
//! The rows are those of Redis 7.0. `COMMAND_TABLE_SERVER=/path/to/server` runs the same against another version; there
//! rows that the server does not have are passed over, and a few flags may differ.

mod examples;
mod server;

use std::collections::BTreeMap;

use redis_cluster_proxy::cluster::Software;
use redis_cluster_proxy::command::{self, Class, Command, Flags, KeyError, Keys, Unknown};
use redis_cluster_proxy::resp::{Args, Span};

use examples::{lines, BROKEN, CHANNELS, EXAMPLES, NUMBERS};
use server::{Listed, Reply, Server};

#[test]
fn every_row_is_as_the_server_lists_it() {
    let server = Server::start(&[]);
    let listed = server.connect().listed_commands();
    let exact = server.connect().is_7_0();
    let mut differences = Vec::new();
    for (name, theirs) in &listed {
        match ours(name) {
            None => differences.push(format!("{name}: no row")),
            Some(ours) => compare_row(name, ours, theirs, exact, &mut differences),
        }
    }
    let software = Software::parse(server.connect().ask(&["INFO", "server"]).text().as_bytes());
    for id in 0..command::count() as u16 {
        let (name, since) = (command::full_name(id), command::by_id(id).since);
        if software.has(since) != listed.contains_key(&name) {
            differences.push(format!("{name}: {since:?}, but not in {software}"));
        }
    }
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn the_documentation_names_no_other_commands() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let mut names = Vec::new();
    for pair in client.ask(&["COMMAND", "DOCS"]).array().chunks_exact(2) {
        documented(pair, &mut names);
    }
    assert!(names.len() > 300, "only {} names", names.len());
    let unknown: Vec<_> = names.iter().filter(|n| ours(n).is_none()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn plain_key_positions_are_those_of_getkeys() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let listed = client.listed_commands();
    let mut compared = 0;
    for name in listed.keys() {
        let row = ours(name).expect("checked by another test");
        // Of channels GETKEYS does not speak; the cluster test has them.
        if !matches!(row.keys, Keys::Range { .. }) || listed[name].not_key {
            continue;
        }
        for argc in argcs(listed[name].arity) {
            if name == "pfmerge" && argc == 2 {
                // Without a source the server finds no key at all, although it writes the destination.
                continue;
            }
            let mut words: Vec<String> = name.split('|').map(str::to_string).collect();
            words.extend((words.len()..argc).map(|i| format!("a{i}")));
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            assert_eq!(our_keys(&words), Ok(client.keys_of(&words)), "{words:?}");
            compared += 1;
        }
    }
    assert!(compared > 300, "only {compared} compared");
}

#[test]
fn keys_of_examples_are_those_of_getkeys() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    let listed = client.listed_commands();
    for words in lines(EXAMPLES).filter(|w| is_listed(&listed, w)) {
        assert_eq!(our_keys(&words), Ok(client.keys_of(&words)), "{words:?}");
    }
}

#[test]
fn a_cluster_node_agrees_on_slots_of_examples() {
    let server = Server::start(&["--cluster-enabled", "yes", "--cluster-allow-pubsubshard-when-down", "no"]);
    let mut client = server.connect();
    let listed = client.listed_commands();
    // With one slot missing the cluster stays down: the node checks the keys of everything and executes nothing keyed.
    assert_eq!(client.ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16382"]), Reply::Text("OK".into()));
    for words in lines(EXAMPLES).chain(lines(CHANNELS)).filter(|w| is_listed(&listed, w)) {
        if words[0] == "MSETEX" {
            // Valkey 9.1.2 finds its keys for GETKEYS but runs it on any node.
            continue;
        }
        let reply = client.ask(&words);
        let expected = match with_args(&words, command::slot_of) {
            Err(KeyError::CrossSlot) => "CROSSSLOT",
            Err(KeyError::Unroutable) => panic!("{words:?} has keys"),
            Ok(Some(_)) => "CLUSTERDOWN",
            Ok(None) => {
                assert!(!reply.is_error_with("CLUSTERDOWN"), "{words:?}: {reply:?}");
                continue;
            }
        };
        assert!(reply.is_error_with(expected), "{words:?}: {reply:?}, not {expected}");
    }
}

#[test]
fn what_is_unroutable_any_cluster_node_refuses() {
    let server = Server::start(&["--cluster-enabled", "yes"]);
    let mut client = server.connect();
    client.ask(&["FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() return 1 end)"]);
    for words in lines(BROKEN) {
        assert_eq!(our_keys(&words), Err(KeyError::Unroutable), "{words:?}");
        let reply = client.ask(&words);
        let expected = ["ERR", "NOSCRIPT"].iter().any(|code| reply.is_error_with(code));
        assert!(expected, "{words:?}: {reply:?}");
    }
    // The node has no slots: it answers so where it has found keys. With slots it would be MOVED.
    for words in lines(NUMBERS) {
        assert!(matches!(with_args(&words, command::slot_of), Ok(Some(_))), "{words:?}");
        let reply = client.ask(&words);
        assert!(reply.is_error_with("CLUSTERDOWN"), "{words:?}: {reply:?}");
    }
    assert_eq!(client.ask(&["DBSIZE"]), Reply::Integer(0));
}

#[test]
fn a_count_of_zero_is_for_the_server_to_judge() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    for words in lines("ZUNION 0 a\nLMPOP 0 a LEFT\nSINTERCARD 0 a\nBZMPOP 0 0 a MIN\nEVAL s 0\nFCALL f 0") {
        assert_eq!(our_keys(&words), Ok(Vec::new()), "{words:?}");
        assert!(client.ask(&words).is_error_with("ERR"), "{words:?}");
    }
    assert_eq!(our_keys(&["ZUNIONSTORE", "d", "0", "a"]), Ok(vec!["d".to_string()]));
    assert!(client.ask(&["ZUNIONSTORE", "d", "0", "a"]).is_error_with("ERR"));
}

#[test]
fn slots_are_those_of_cluster_keyslot() {
    let server = Server::start(&["--cluster-enabled", "yes"]);
    let mut client = server.connect();
    let mut random = Random(0x5eed);
    for round in 0..4000 {
        let key = random.key(round % 70);
        let theirs = client.ask(&[&b"CLUSTER"[..], b"KEYSLOT", &key]);
        assert_eq!(Reply::Integer(command::slot(&key).into()), theirs, "{}", key.escape_ascii());
    }
}

#[test]
fn error_texts_are_the_servers() {
    let server = Server::start(&[]);
    let long = |letter: &str, n: usize| letter.repeat(n);
    let (x100, x124, x128, x200) = (long("x", 100), long("x", 124), long("x", 128), long("x", 200));
    let mut cases: Vec<Vec<&str>> = vec![
        vec!["foo"],
        vec!["FoO", "a", "b"],
        vec!["foo", &x200, "y"],
        vec!["foo", &x100, &x100, "z"],
        vec!["foo", &x124, "z"],
        vec!["foo", &x128, "z"],
        vec!["f\r\noo", "a\nb"],
        vec!["f\0oo", "a\0b", "c"],
        vec![&x200, "a"],
        vec!["", "a"],
        vec!["get\0", "x"],
        vec!["config|get", "x"],
        vec!["foo", "it's", "\u{fe}"],
        vec!["config"],
        vec!["CONFIG", "x"],
        vec!["ConFig", "Xx\r\n"],
        vec!["config", &x200],
        vec!["config", ""],
        vec!["command", "foo"],
        vec!["client", "\0x"],
        vec!["Config", "GET"],
        vec!["CLIENT"],
        vec!["client", "setname"],
        vec!["get"],
        vec!["GeT", "a", "b"],
        vec!["object", "Encoding"],
        vec!["memory", "usage"],
        vec!["debug"],
    ];
    cases.push([vec!["foo"], vec![""; 60]].concat());
    for words in cases {
        let mut out = Vec::new();
        with_frame(&words, |args| match command::resolve(args) {
            Err(Unknown::Command) => command::unknown_command_error(args, &mut out),
            Err(Unknown::Subcommand(_)) => command::unknown_subcommand_error(args, &mut out),
            Ok(row) => {
                assert!(!command::arity_ok(row, args.len()), "{words:?} is fine");
                command::wrong_arity_error(row, &mut out);
            }
        });
        assert_eq!(
            Reply::Error(String::from_utf8(out).expect("text")),
            server.connect().ask(&words),
            "{words:?}"
        );
    }
}

fn ours(full_name: &str) -> Option<&'static Command> {
    match full_name.split_once('|') {
        None => command::lookup(full_name.as_bytes()),
        Some((container, word)) => {
            command::subcommand(command::lookup(container.as_bytes())?, word.as_bytes())
        }
    }
}

fn with_frame<T>(words: &[&str], f: impl FnOnce(&Args<'_>) -> T) -> T {
    let mut bytes = Vec::new();
    let mut spans = Vec::new();
    for word in words {
        let start = bytes.len() as u32;
        bytes.extend_from_slice(word.as_bytes());
        spans.push(Span { start, end: bytes.len() as u32 });
    }
    f(&Args::new(&bytes, &spans))
}

fn with_args<T>(words: &[&str], f: impl FnOnce(&'static Command, &Args<'_>) -> T) -> T {
    with_frame(words, |args| f(command::resolve(args).expect("known"), args))
}

fn our_keys(words: &[&str]) -> Result<Vec<String>, KeyError> {
    with_args(words, |row, args| {
        Ok(command::keys(row, args)?
            .map(|at| String::from_utf8_lossy(args.get(at).expect("within")).into_owned())
            .collect())
    })
}

fn compare_row(name: &str, ours: &Command, theirs: &Listed, exact: bool, differences: &mut Vec<String>) {
    let grew = ours.flags.has(Flags::ARITY_GREW)
        && theirs.arity.unsigned_abs() >= u64::from(ours.arity.unsigned_abs());
    if i64::from(ours.arity) != theirs.arity && !grew {
        differences.push(format!("{name}: arity {} is {}", ours.arity, theirs.arity));
    }
    let mut flags = vec![("readonly", Flags::READONLY), ("write", Flags::WRITE), ("no_auth", Flags::NO_AUTH)];
    flags.push(("movablekeys", Flags::MOVABLE_KEYS));
    if exact {
        flags.extend([("blocking", Flags::BLOCKING), ("no_multi", Flags::NO_MULTI)]);
    }
    for (word, flag) in flags {
        if theirs.flags.iter().any(|f| f == word) != ours.flags.has(flag) {
            differences.push(format!("{name}: {word} is not {}", ours.flags.has(flag)));
        }
    }
    let range = match ours.keys {
        Keys::None => (0, 0, 0),
        Keys::Range { first, last, step } => (first.into(), last.into(), step.into()),
        // What the server says of these depends on how much of them it can put into first, last and step.
        _ => theirs.range,
    };
    if range != theirs.range {
        differences.push(format!("{name}: keys {range:?} are {:?}", theirs.range));
    }
    if (ours.class == Class::Blocking) != theirs.flags.iter().any(|f| f == "blocking")
        && !name.starts_with("wait")
    {
        differences.push(format!("{name}: class {:?}", ours.class));
    }
}

/// All numbers of arguments to try with an arity.
fn argcs(arity: i64) -> std::ops::RangeInclusive<usize> {
    let least = arity.unsigned_abs() as usize;
    if arity < 0 {
        // A module's arity of -1 says nothing; below two there is no key to name.
        least.max(2)..=least + 5
    } else {
        least..=least
    }
}

fn is_listed(listed: &BTreeMap<String, Listed>, words: &[&str]) -> bool {
    listed.contains_key(&words[0].to_ascii_lowercase())
}

/// Collects the names of a command and its sub-commands out of `COMMAND DOCS`.
fn documented(pair: &[Reply], names: &mut Vec<String>) {
    names.push(pair[0].text().to_ascii_lowercase());
    for field in pair[1].array().chunks_exact(2).filter(|f| f[0].text() == "subcommands") {
        for pair in field[1].array().chunks_exact(2) {
            documented(pair, names);
        }
    }
}

/// xorshift64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Any bytes, with more braces than chance would give.
    fn key(&mut self, len: usize) -> Vec<u8> {
        (0..len)
            .map(|_| match self.next() >> 33 {
                n if n % 24 == 0 => b'{',
                n if n % 24 == 1 => b'}',
                n => (n >> 8) as u8,
            })
            .collect()
    }
}
