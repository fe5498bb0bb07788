//! The random stream: commands made from the patterns of `words`, in an order that makes sense to a connection.

use super::compare::How;
use super::dice::Dice;
use super::left_out::{is_open, Server};
use super::words::{Pattern, FLUSHES, KEYED, OTHER, SPLIT};
use crate::support::keys::slot;

/// How many hash tags there are. Few enough for commands to meet each other's data.
const TAGS: usize = 24;
/// Arguments that are out of place nearly everywhere.
const JUNK: &[&[u8]] = &[b"", b"x", b"-1", b"0", b"99999999999999999999", b"1.5", b"nan", b"\0\r\n"];
/// The scripts of SCRIPT LOAD and EVALSHA, by the SHA-1 of their text.
const SCRIPTS: &[(&str, &str)] = &[
    ("return {KEYS[1],ARGV[1]}", "bfbf458525d6a0b19200bfd6db3af481156b367b"),
    ("return 1", "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"),
    ("return redis.call('GET',KEYS[1])", "620cd258c2c9c88c9d10db67812ccf663d96bdc6"),
];
const LIBRARY: &str = "#!lua name=difflib\n\
    redis.register_function('difset', function(k, a) return redis.call('SET', k[1], a[1]) end)\n\
    redis.register_function{function_name='difget', flags={'no-writes'}, \
    callback=function(k, a) return redis.call('STRLEN', k[1]) end}";
/// Commands that in some cases are made with keys of different slots, all of them with right numbers of keys.
const MAY_CROSS: &[&str] = &[
    "BITOP",
    "BLMOVE",
    "COPY",
    "LCS",
    "LMOVE",
    "MSETNX",
    "PFCOUNT",
    "PFMERGE",
    "RENAME",
    "RENAMENX",
    "RPOPLPUSH",
    "SDIFF",
    "SINTER",
    "SMOVE",
    "SUNION",
    "SDIFFSTORE",
    "SUNIONSTORE",
    "ZDIFF",
    "ZRANGESTORE",
    "GEOSEARCHSTORE",
];

/// What a command does to the state of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing.
    Plain,
    /// Begins a transaction.
    Multi,
    /// Ends it: the reply has the replies of what was queued.
    Exec,
    /// Ends it without a result.
    Discard,
}

/// One command of the stream.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its words.
    pub args: Vec<Vec<u8>>,
    /// Its keys are in different slots: the proxy refuses it, the standalone server does not get it.
    pub crosses: bool,
    /// How its reply is compared.
    pub how: How,
    /// What it does to its connection.
    pub kind: Kind,
}

/// What the generator knows of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Line {
    /// The tag of the transaction that is being queued.
    multi: Option<usize>,
    /// The tag of the keys that are watched.
    watched: Option<usize>,
}

/// The generator.
pub struct Stream {
    pub dice: Dice,
    /// Payloads for RESTORE, some of them broken.
    dumps: Vec<Vec<u8>>,
    /// Commands that only newer servers have, and these do.
    newer: Vec<&'static Pattern>,
    server: Server,
}

/// A command in the making.
struct Draft {
    args: Vec<Vec<u8>>,
    /// Positions of keys.
    keys: Vec<usize>,
    tag: usize,
    /// Every key has a tag of its own.
    crosses: bool,
    /// Whether `%` keys may have other tags.
    is_free: bool,
}

impl Stream {
    /// A stream that repeats itself for the same seed.
    pub fn new(seed: u64, dumps: Vec<Vec<u8>>, newer: Vec<&'static Pattern>, server: Server) -> Stream {
        Stream { dice: Dice::new(seed), dumps, newer, server }
    }

    /// The next command for a connection.
    pub fn next(&mut self, line: &mut Line) -> Sent {
        let sent = match line.multi {
            Some(tag) => self.within(line, tag),
            None => self.outside(line),
        };
        match self.server.leaves_out(&sent.args) || is_open(&sent.args) {
            true => plain(&[b"PING"], Kind::Plain),
            false => sent,
        }
    }

    fn outside(&mut self, line: &mut Line) -> Sent {
        let tag = self.dice.below(TAGS);
        match self.dice.below(1000) {
            0..=39 => {
                line.multi = Some(line.watched.unwrap_or(tag));
                plain(&[b"MULTI"], Kind::Multi)
            }
            40..=54 => {
                let tag = *line.watched.get_or_insert(tag);
                self.keyed(&(1, "WATCH $k*", How::Bytes), tag)
            }
            55..=64 => {
                line.watched = None;
                plain(&[b"UNWATCH"], Kind::Plain)
            }
            65..=214 => self.from(OTHER, line),
            215 => self.from(FLUSHES, line),
            216..=340 => {
                let pattern = self.pick(SPLIT);
                self.make(pattern, tag, true)
            }
            341..=420 if !self.newer.is_empty() => {
                let pattern = *self.dice.pick(&self.newer);
                self.make(pattern, tag, false)
            }
            _ => loop {
                let pattern = self.pick(KEYED);
                if line.watched.is_none() || !may_block(pattern) {
                    return self.make(pattern, tag, false);
                }
            },
        }
    }

    /// Inside MULTI all keys have one tag.
    fn within(&mut self, line: &mut Line, tag: usize) -> Sent {
        match self.dice.below(100) {
            0..=24 => {
                *line = Line::default();
                plain(&[b"EXEC"], Kind::Exec)
            }
            25..=26 => {
                *line = Line::default();
                plain(&[b"DISCARD"], Kind::Discard)
            }
            27 => plain(&[b"MULTI"], Kind::Plain),
            28 => plain(&[b"WATCH", b"x"], Kind::Plain),
            29 => plain(&[b"UNWATCH"], Kind::Plain),
            30..=32 => plain(&[b"PING", b"inside"], Kind::Plain),
            33..=40 => {
                let pattern = self.pick(SPLIT);
                self.keyed(pattern, tag)
            }
            41 => self.keyed(refused_in_queue(), tag),
            42..=49 if !self.newer.is_empty() => {
                let pattern = *self.dice.pick(&self.newer);
                self.keyed(pattern, tag)
            }
            _ => loop {
                let sent = {
                    let pattern = self.pick(KEYED);
                    self.keyed(pattern, tag)
                };
                if !is_new(&sent.args) {
                    return sent;
                }
            },
        }
    }

    fn from(&mut self, patterns: &'static [Pattern], line: &mut Line) -> Sent {
        let pattern = self.pick(patterns);
        let sent = self.make(pattern, 0, false);
        let word = |i: usize, w: &str| sent.args.get(i).is_some_and(|a| a.eq_ignore_ascii_case(w.as_bytes()));
        let ends = if word(0, "EXEC") { sent.args.len() > 1 } else { sent.args.len() == 1 };
        if ends && (word(0, "RESET") || word(0, "UNWATCH") || word(0, "EXEC")) {
            line.watched = None;
        }
        sent
    }

    fn pick(&mut self, patterns: &'static [Pattern]) -> &'static Pattern {
        let mut at = self.dice.below(patterns.iter().map(|p| p.0).sum());
        patterns
            .iter()
            .find(|p| {
                let is_it = at < p.0;
                at = at.saturating_sub(p.0);
                is_it
            })
            .expect("a weight")
    }

    /// A command whose keys all have this tag.
    fn keyed(&mut self, pattern: &Pattern, tag: usize) -> Sent {
        let draft = self.draft(pattern.1, tag, false, false);
        Sent { args: draft.args, crosses: false, how: pattern.2, kind: Kind::Plain }
    }

    fn make(&mut self, pattern: &Pattern, tag: usize, is_free: bool) -> Sent {
        let name = pattern.1.split(' ').next().unwrap_or_default();
        let names: Vec<&str> = name.trim_matches(['[', ']']).split('|').collect();
        let may_cross = names.iter().all(|n| MAY_CROSS.contains(n)) && self.dice.chance(80);
        let mut draft = self.draft(pattern.1, tag, may_cross, is_free);
        let slots: Vec<u16> = draft.keys.iter().map(|i| slot_of(&draft.args[*i])).collect();
        let crosses = !is_free && slots.windows(2).any(|w| w[0] != w[1]);
        // A key more would have the tag of the draft, which those of a draft that may cross need not have.
        if !may_cross && !is_kept(&draft.args) && self.dice.chance(60) {
            self.spoil(&mut draft);
        }
        Sent { args: draft.args, crosses, how: pattern.2, kind: Kind::Plain }
    }

    /// Too few arguments, too many, or nonsense among them; the keys stay in one slot.
    fn spoil(&mut self, draft: &mut Draft) {
        let len = draft.args.len();
        match self.dice.below(3) {
            0 if len > 1 => draft.args.truncate(self.dice.between(1, len - 1)),
            1 => {
                let extra = self.key(b'k', draft.tag);
                draft.args.push(extra);
            }
            _ => {
                let at = self.dice.below(len);
                if at > 0 && !draft.keys.contains(&at) {
                    draft.args[at] = self.dice.pick(JUNK).to_vec();
                }
            }
        }
    }

    fn draft(&mut self, pattern: &str, tag: usize, crosses: bool, is_free: bool) -> Draft {
        let mut draft = Draft { args: Vec::new(), keys: Vec::new(), tag, crosses, is_free };
        for word in pattern.split(' ') {
            self.word(word, &mut draft);
        }
        draft
    }

    /// A word of a pattern: alternatives, something random, or itself.
    fn word(&mut self, word: &str, draft: &mut Draft) {
        let choice = word.strip_suffix(']').and_then(|w| w.split_once('['));
        if let Some((prefix, alternatives)) = choice {
            let alternatives: Vec<&str> = alternatives.split('|').collect();
            let chosen = *self.dice.pick(&alternatives);
            if !chosen.is_empty() {
                format!("{prefix}{chosen}").split('~').for_each(|w| self.term(w, draft));
            }
        } else {
            self.term(&word.replace('~', " "), draft);
        }
    }

    fn term(&mut self, word: &str, draft: &mut Draft) {
        if word.len() < 2 || !word.starts_with(['$', '%']) {
            return draft.args.push(word.as_bytes().to_vec());
        }
        let times = if word.ends_with('*') { self.dice.between(1, 4) } else { 1 };
        let name = word[1..].trim_end_matches('*');
        for _ in 0..times {
            self.random(name, word.starts_with('%'), draft);
        }
    }

    fn random(&mut self, name: &str, may_leave: bool, draft: &mut Draft) {
        let pieces = match name {
            "kv" | "s" | "h" | "l" | "t" | "z" | "y" | "x" | "g" | "p" | "u" | "k" => {
                let of_its_own = draft.crosses || (may_leave && draft.is_free);
                let tag = if of_its_own { self.dice.below(TAGS) } else { draft.tag };
                draft.keys.push(draft.args.len());
                let kind = if name == "kv" { b's' } else { name.as_bytes()[0] };
                let key = self.key(kind, tag);
                if name == "kv" {
                    vec![key, self.value()]
                } else {
                    vec![key]
                }
            }
            "v" => vec![self.value()],
            "w" => vec![format!("f{}", self.dice.below(12)).into_bytes()],
            "wv" => vec![format!("f{}", self.dice.below(12)).into_bytes(), self.value()],
            "m" => vec![self.member()],
            "sm" => vec![self.float(), self.member()],
            "n" => vec![self.integer()],
            "f" => vec![self.float()],
            "i" => vec![format!("{}", self.dice.below(24) as i64 - 12).into_bytes()],
            "lo" => vec![self.dice.pick(&[&b"-inf"[..], b"(1", b"0", b"-3.5", b"x"]).to_vec()],
            "hi" => vec![self.dice.pick(&[&b"+inf"[..], b"(20", b"7", b"100", b"x"]).to_vec()],
            "id" => vec![self.id()],
            "ll" => self.place(),
            "dump" => vec![self.dice.pick(&self.dumps).clone()],
            "script" => vec![self.dice.pick(SCRIPTS).0.into()],
            "sha" => vec![self.dice.pick(SCRIPTS).1.into()],
            "lib" => vec![LIBRARY.into()],
            _ => panic!("no such word: {name}"),
        };
        draft.args.extend(pieces);
    }

    /// A key by the kind of value that it mostly has; any kind for `k` and now and then, for wrong types.
    fn key(&mut self, kind: u8, tag: usize) -> Vec<u8> {
        let is_any = kind == b'k' || self.dice.chance(40);
        let kind = match (is_any, kind) {
            (false, kind) => kind,
            // Members in order, so none of the sorted sets whose scores differ.
            (true, b'y') => *self.dice.pick(b"shltxp"),
            (true, _) => *self.dice.pick(b"shltzxgp"),
        };
        let number = b'1' + self.dice.below(2) as u8;
        [&[kind, number][..], b":{", &tag_name(tag), b"}"].concat()
    }

    fn value(&mut self) -> Vec<u8> {
        match self.dice.below(20) {
            0 => Vec::new(),
            1..=5 => self.integer(),
            6 => self.float(),
            7 => b"bin\0\r\n\xff$1\r\n".to_vec(),
            8 => b"-ERR no error\r\n".to_vec(),
            9 => vec![b'y'; self.dice.between(60, 5000)],
            10..=11 => (0..self.dice.below(30)).map(|_| self.dice.below(256) as u8).collect(),
            _ => format!("v{}", self.dice.below(40)).into_bytes(),
        }
    }

    fn member(&mut self) -> Vec<u8> {
        match self.dice.below(10) {
            0 => self.value(),
            1..=3 => self.dice.below(20).to_string().into_bytes(),
            _ => format!("m{}", self.dice.below(20)).into_bytes(),
        }
    }

    fn integer(&mut self) -> Vec<u8> {
        match self.dice.below(12) {
            0 => b"9223372036854775807".to_vec(),
            1 => b"-9223372036854775808".to_vec(),
            2 => b"9223372036854775808".to_vec(),
            3 => b" 1".to_vec(),
            _ => (self.dice.below(200) as i64 - 50).to_string().into_bytes(),
        }
    }

    fn float(&mut self) -> Vec<u8> {
        let odd: &[&[u8]] = &[b"inf", b"-inf", b"nan", b"1e3", b"x", b"3.0e-5", b"1e400"];
        match self.dice.below(8) {
            0 => self.dice.pick(odd).to_vec(),
            _ => format!("{}.{}", self.dice.below(40) as i64 - 20, self.dice.below(100)).into_bytes(),
        }
    }

    /// Identifiers of stream entries: few enough to be met again.
    fn id(&mut self) -> Vec<u8> {
        match self.dice.below(12) {
            0 => b"0".to_vec(),
            1 => b"x-1".to_vec(),
            2 => format!("{}-*", self.dice.below(60)).into_bytes(),
            _ => format!("{}-{}", self.dice.below(60), self.dice.below(3)).into_bytes(),
        }
    }

    fn place(&mut self) -> Vec<Vec<u8>> {
        let (lon, lat) = (self.dice.between(10, 20), self.dice.between(32, 42));
        let lat = if self.dice.chance(30) { 95 } else { lat };
        vec![format!("{lon}.5").into_bytes(), format!("{lat}.25").into_bytes()]
    }
}

/// Whether commands of the pattern may wait for others.
fn may_block(pattern: &Pattern) -> bool {
    let name = pattern.1.trim_start_matches('[');
    (name.starts_with('B') && !name.starts_with("BIT")) || pattern.1.contains("BLOCK")
}

/// Commands of which Redis 7.0 does not even know the arity.
fn is_new(args: &[Vec<u8>]) -> bool {
    ["HEXPIRE", "HTTL", "HGETEX", "HGETDEL", "HSETEX"].iter().any(|n| args[0] == n.as_bytes())
}

/// Commands that stay as they are: with other arguments they would do what is left out, wait for ever, or have keys in other slots.
fn is_kept(args: &[Vec<u8>]) -> bool {
    is_new(args)
        || [
            "SELECT",
            "SCAN",
            "COMMAND",
            "SLOWLOG",
            "CLIENT",
            "TIME",
            "WAIT",
            "SUBSCRIBE",
            "PSUBSCRIBE",
            "SSUBSCRIBE",
            "MONITOR",
            "ACL",
            "RANDOMKEY",
            "EVAL",
            "EVALSHA",
            "EVAL_RO",
            "EVALSHA_RO",
            "FCALL",
            "FCALL_RO",
            "BLPOP",
            "BRPOP",
            "BZPOPMIN",
            "BZPOPMAX",
        ]
        .iter()
        .any(|n| args[0] == n.as_bytes())
}

/// A command that a server does not take into a transaction, so that EXEC fails.
fn refused_in_queue() -> &'static Pattern {
    &(1, "[GET|NOSUCH|OBJECT~NOSUCH|CONFIG~NOSUCH|SET~x]", How::Bytes)
}

/// What stands between the braces; some tags are not text.
fn tag_name(tag: usize) -> Vec<u8> {
    match tag % 8 {
        0 => [&b"t\0\r\n\xfe"[..], tag.to_string().as_bytes()].concat(),
        _ => format!("t{tag}").into_bytes(),
    }
}

fn slot_of(key: &[u8]) -> u16 {
    crc16::State::<crc16::XMODEM>::calculate(&key[4..key.len() - 1]) % crate::support::keys::SLOTS
}

fn plain(args: &[&[u8]], kind: Kind) -> Sent {
    Sent { args: args.iter().map(|a| a.to_vec()).collect(), crosses: false, how: How::Bytes, kind }
}

#[test]
fn the_stream_repeats_itself_and_crosses_only_slots() {
    let all = |seed| {
        let (mut stream, mut line) =
            (Stream::new(seed, vec![b"x".to_vec()], Vec::new(), Server::Redis), Line::default());
        (0..5000).map(|_| stream.next(&mut line)).collect::<Vec<_>>()
    };
    let words = |sent: Vec<Sent>| sent.into_iter().map(|s| s.args).collect::<Vec<_>>();
    assert!(all(1).iter().any(|s| s.crosses) && !all(1).iter().all(|s| s.crosses));
    assert_eq!(words(all(1)), words(all(1)));
    assert_ne!(words(all(1)), words(all(2)));
    assert_eq!(slot_of(b"s1:{t5}"), slot("t5"));
}
