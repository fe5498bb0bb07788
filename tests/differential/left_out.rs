//! What is not sent, by name and with the reason, and how it is recognised where the patterns of `words` may make it.

/// What a cluster cannot do or what nobody could compare; the errors of the former are tested in `refusals`.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("SELECT 1", "a cluster has one database; so SWAPDB, MOVE, COPY DB n"),
    ("SORT BY/GET with a pattern", "reads keys of other slots: the nodes themselves refuse it"),
    (
        "KEYS, SCAN, DBSIZE, SCRIPT LOAD, CONFIG inside MULTI",
        "carried out in their place, not atomic over nodes",
    ),
    ("MULTI over two slots", "atomicity is not faked: CROSSSLOT and EXECABORT"),
    ("scripts on keys they do not declare", "the node refuses keys of other slots"),
    ("ZLEXCOUNT, ZRANGE BYLEX and their like with unequal scores", "the reply is not defined, and varies by chance"),
    ("SPOP below the size of the set", "takes away at random, and the data would differ from there on"),
    ("XADD *, TIME, LASTSAVE, INFO, CLIENT LIST, CLIENT ID", "times, addresses, identities; see tests/live"),
    ("BLPOP and its like between WATCH and EXEC", "for keys of the watched slot only"),
    (
        "queueing of newer commands",
        "the proxy knows them, whatever the version of the nodes",
    ),
    (
        "EVAL with 2.5 keys and the like",
        "a node looks for keys with less care than it counts them: CROSSSLOT",
    ),
    (
        "SETNAME with a NUL in the name on Redis 8 and Valkey",
        "they look at no more than what is before it; the proxy refuses it as Redis 7.0 does",
    ),
    (
        "HELLO SETNAME with a syntax error behind the name on Redis 7.0",
        "it keeps the name all the same; the proxy does not, as newer servers do not",
    ),
    ("VLINKS", "a server links at random"),
    ("BLMPOP, BZMPOP, BLMOVE, BRPOPLPUSH and BLOCK with a timeout of 0", "they may wait for ever"),
    (
        "AUTH of an unknown user on Redis 8",
        "behind a reply that is not yet sent the server does not answer it at all; the proxy does",
    ),
    (
        "functions that pass nil to a command on Redis 8",
        "it crashes in the next FUNCTION FLUSH, as the argument count of the function's client stays without arguments",
    ),
    ("modules in HELLO", "the proxy has none, and newer servers have some built in"),
    ("SCAN with a negative cursor", "a server reads it as a huge one; the proxy says invalid cursor"),
    ("WAIT", "it tells of the replicas, of which a single server has none"),
    ("WAITAOF, SHUTDOWN, REPLICAOF, DEBUG, MODULE", "refused, with a reason"),
    ("CLIENT TRACKING ON", "its messages come when they do; `tests/live/tracking.rs` compares them"),
];

/// Which servers the commands go to, as far as it matters for what is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Redis before version 8.
    Redis,
    /// Redis 8 and newer.
    Redis8,
    /// Valkey.
    Valkey,
}

impl Server {
    /// What the reply to `INFO server` says.
    pub fn of(info: &str) -> Server {
        let old = |line: &str| {
            line.strip_prefix("redis_version:")
                .is_some_and(|v| matches!(v.split('.').next(), Some("6" | "7")))
        };
        match info.contains("server_name:valkey") {
            true => Server::Valkey,
            false if info.lines().any(old) => Server::Redis,
            false => Server::Redis8,
        }
    }

    /// Whether a command is in [`LEFT_OUT`] for this server alone.
    pub fn leaves_out(self, args: &[Vec<u8>]) -> bool {
        let is = |i: usize, word: &str| is_word(args, i, word);
        let names = (0..args.len()).any(|i| is(i, "SETNAME"));
        let has_nul = names && args.iter().any(|a| a.contains(&0));
        match self {
            Server::Redis => names && is(0, "HELLO") && args.len() > 4,
            Server::Redis8 => {
                let of_a_user = is(0, "AUTH") && args.len() == 3 && !is(1, "default");
                of_a_user || has_nul || lacks_an_argument(args)
            }
            Server::Valkey => has_nul,
        }
    }
}

fn is_word(args: &[Vec<u8>], i: usize, word: &str) -> bool {
    args.get(i).is_some_and(|a| a.eq_ignore_ascii_case(word.as_bytes()))
}

/// Whether a function of `stream::LIBRARY` would be called without an argument that it passes on to a command.
fn lacks_an_argument(args: &[Vec<u8>]) -> bool {
    let is = |i: usize, word: &str| is_word(args, i, word);
    let needed = if is(1, "difset") { 5 } else { 4 };
    (is(0, "FCALL") || is(0, "FCALL_RO"))
        && (is(1, "difset") || is(1, "difget"))
        && (is(2, "0") || args.len() < needed)
}

/// Whether a server answers as it happens: when somebody else acts, at random, or in no defined way.
pub fn is_open(args: &[Vec<u8>]) -> bool {
    let is = |i: usize, word: &str| is_word(args, i, word);
    let timeout = match args.iter().position(|a| a.eq_ignore_ascii_case(b"BLOCK")) {
        _ if is(0, "BLMPOP") || is(0, "BZMPOP") => 1,
        _ if is(0, "BRPOPLPUSH") || is(0, "BLMOVE") => args.len() - 1,
        Some(block) => block + 1,
        None => args.len(),
    };
    let pops_some = is(0, "SPOP") && args.len() == 2;
    let mixes_scores = is(0, "ZADD") && args[1..].iter().any(|a| a.starts_with(b"y")) && !is(2, "0");
    is(timeout, "0") || pops_some || mixes_scores
}
