//! Which clients CLIENT LIST and CLIENT KILL mean: a table of filters, of which those are known that the nodes' software
//! knows.

use super::line::{flags, redirects};
use super::number;
use crate::base::time::Time;
use crate::cluster::Software;
use crate::command::Since;
use crate::proxy::client::{Client, Labels};
use crate::proxy::errors::say;
use crate::resp::Args;

/// Conditions that must all hold; none that is set means every client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these ids.
    pub ids: Option<Vec<u64>>,
    /// None of these ids.
    others_than: Vec<u64>,
    /// Not this id.
    except: Option<u64>,
    /// What else must hold, or must not.
    tests: Vec<Condition>,
}

/// A test, the word that stands for it, and what its result must be.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    word: &'static str,
    test: Test,
    wanted: bool,
}

/// A question about a client.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    /// Is of this kind.
    Kind(Kind),
    /// Comes from `ip:port`.
    Addr(Vec<u8>),
    /// Came in at `ip:port`.
    LocalAddr(Vec<u8>),
    /// Comes from this host.
    Ip(Vec<u8>),
    /// Is logged in as `default`, the only user that there is.
    User,
    /// Connected for at least so many seconds.
    Age(u64),
    /// Silent for at least so many seconds.
    Idle(u64),
    /// Has all these flags.
    Flags(Vec<u8>),
    /// Called itself so.
    Name(Vec<u8>),
    /// Its library is called so.
    LibName(Vec<u8>),
    /// Its library is of this version.
    LibVer(Vec<u8>),
    /// Has selected this database.
    Database(i64),
    /// Has said that it follows redirects, where that is asked for.
    Redirects(bool),
}

/// A filter: its word, who takes it for CLIENT LIST and who for CLIENT KILL, who knows its opposite, and what reads its value.
type Row = (&'static str, Since, Since, Since, fn(&Word<'_>) -> Result<Test, Vec<u8>>);

/// All filters but ID and SKIPME.
const ROWS: [Row; 13] = [
    ("type", LISTED, Since::ALWAYS, NAMED, |w| Kind::parse(w).map(Test::Kind)),
    ("addr", LISTED, Since::ALWAYS, NAMED, |w| Ok(Test::Addr(w.value.to_vec()))),
    ("laddr", LISTED, Since::ALWAYS, NAMED, |w| Ok(Test::LocalAddr(w.value.to_vec()))),
    ("user", LISTED, Since::ALWAYS, NAMED, |w| match w.value == b"default" {
        true => Ok(Test::User),
        false => Err(quoting("ERR No such user", w.value)),
    }),
    ("maxage", LISTED, Since::both((7, 4), (8, 0)), Since::NEVER, |w| w.positive().map(Test::Age)),
    ("idle", NAMED, NAMED, Since::NEVER, |w| w.positive().map(Test::Idle)),
    ("flags", NAMED, NAMED, NAMED, |w| w.letters("flags", FLAGS).map(|()| Test::Flags(w.value.to_vec()))),
    ("name", NAMED, NAMED, NAMED, |w| Ok(Test::Name(w.value.to_vec()))),
    ("lib-name", NAMED, NAMED, NAMED, |w| Ok(Test::LibName(w.value.to_vec()))),
    ("lib-ver", NAMED, NAMED, NAMED, |w| Ok(Test::LibVer(w.value.to_vec()))),
    ("db", NAMED, NAMED, NAMED, |w| w.database().map(Test::Database)),
    ("capa", NAMED, NAMED, NAMED, |w| w.letters("capa", b"r").map(|()| Test::Redirects(!w.value.is_empty()))),
    ("ip", NAMED, NAMED, NAMED, |w| Ok(Test::Ip(w.value.to_vec()))),
];

/// CLIENT LIST takes filters in any number and order, and several ids stand behind one ID.
pub(super) const LISTED: Since = Since::valkey(8, 1);
/// Filters for what clients are called, and opposites of filters.
const NAMED: Since = Since::valkey(9, 0);
/// A type may be called PRIMARY.
const PRIMARIES: Since = Since::valkey(8, 0);

/// The letters that a server may show as flags.
const FLAGS: &[u8] = b"bcdeirtuxABEIMNOPRSTU";

/// What a client is to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sends commands.
    Normal,
    /// Is subscribed to something.
    PubSub,
    /// The primary of a replica, or a replica: never a client of a proxy.
    Replication,
}

/// A filter as somebody has written it.
struct Word<'a> {
    /// In lower case, with its `not-`.
    name: &'a str,
    value: &'a [u8],
    software: &'a Software,
}

/// Who asks, and whom the words are for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker<'a> {
    /// The id of who asks.
    pub me: u64,
    /// What the nodes run.
    pub software: &'a Software,
}

impl Filter {
    /// Whether it means this client.
    pub fn matches(&self, c: &Client, now: Time) -> bool {
        self.except != Some(c.id)
            && self.ids.as_ref().is_none_or(|ids| ids.contains(&c.id))
            && !self.others_than.contains(&c.id)
            && self.tests.iter().all(|t| t.test.holds(c, now) == t.wanted)
    }

    /// `CLIENT LIST [TYPE type] [ID id ...]`, or any filters where the nodes' software takes them; an error is without `-` and
    /// line end.
    pub(super) fn for_list(args: &Args<'_>, asker: Asker<'_>) -> Result<Filter, Vec<u8>> {
        if asker.software.has(LISTED) {
            return Filter::default().with_all(args, asker, |row| row.1);
        }
        let is = |word: &[u8]| args.get(2).is_some_and(|a| a.eq_ignore_ascii_case(word));
        match args.len() {
            2 => Ok(Filter::default()),
            4 if is(b"type") => Filter::default().with_all(args, asker, |_| Since::ALWAYS),
            n if n > 3 && is(b"id") => {
                let ids: Option<Vec<i64>> = args.iter().skip(3).map(number).collect();
                let ids = ids.ok_or(&b"ERR Invalid client ID"[..])?;
                // No client has an id below 1.
                let ids = ids.into_iter().map(|id| u64::try_from(id).unwrap_or(0)).collect();
                Ok(Filter { ids: Some(ids), ..Filter::default() })
            }
            _ => Err(super::SYNTAX.to_vec()),
        }
    }

    /// `CLIENT KILL filter value [filter value ...]`.
    pub(super) fn for_kill(args: &Args<'_>, asker: Asker<'_>) -> Result<Filter, Vec<u8>> {
        Filter { except: Some(asker.me), ..Filter::default() }.with_all(args, asker, |row| row.2)
    }

    /// `CLIENT KILL ip:port`, which may hit who asks.
    pub(super) fn for_address(addr: &[u8]) -> Filter {
        let test = Condition { word: "addr", test: Test::Addr(addr.to_vec()), wanted: true };
        Filter { tests: vec![test], ..Filter::default() }
    }

    fn with_all(
        mut self,
        args: &Args<'_>,
        asker: Asker<'_>,
        taken: fn(&Row) -> Since,
    ) -> Result<Filter, Vec<u8>> {
        let mut at = 2;
        while let Some(name) = args.get(at) {
            let name = String::from_utf8_lossy(name).to_ascii_lowercase();
            let value = args.get(at + 1).ok_or(super::SYNTAX)?;
            let word = Word { name: &name, value, software: asker.software };
            match name.as_str() {
                "id" => at += add_ids(self.ids.get_or_insert_default(), args, at + 1, asker)?,
                "not-id" if asker.software.has(NAMED) => {
                    at += add_ids(&mut self.others_than, args, at + 1, asker)?;
                }
                "skipme" if value.eq_ignore_ascii_case(b"yes") => self.except = Some(asker.me),
                "skipme" if value.eq_ignore_ascii_case(b"no") => self.except = None,
                _ => self.add(&word, taken)?,
            }
            at += 2;
        }
        Ok(self)
    }

    /// The last of several filters of one word counts.
    fn add(&mut self, word: &Word<'_>, taken: fn(&Row) -> Since) -> Result<(), Vec<u8>> {
        let positive = word.name.strip_prefix("not-");
        let row = ROWS.iter().find(|row| row.0 == positive.unwrap_or(word.name));
        let known = |row: &&Row| word.software.has(if positive.is_some() { row.3 } else { taken(row) });
        let (name, .., read) = row.filter(known).ok_or(super::SYNTAX)?;
        let wanted = positive.is_none();
        let test = read(word)?;
        self.tests.retain(|t| t.word != *name || t.wanted != wanted);
        self.tests.push(Condition { word: name, test, wanted });
        Ok(())
    }
}

/// Takes the ids from argument `from` on, one or as many as there are numbers; returns how many there are besides one.
fn add_ids(ids: &mut Vec<u64>, args: &Args<'_>, from: usize, asker: Asker<'_>) -> Result<usize, Vec<u8>> {
    let error = || b"ERR client-id should be greater than 0".to_vec();
    let id = |n: i64| u64::try_from(n).ok().filter(|n| *n > 0).ok_or_else(error);
    if !asker.software.has(LISTED) {
        ids.clear();
        ids.push(args.get(from).and_then(number).ok_or_else(error).and_then(id)?);
        return Ok(0);
    }
    let before = ids.len();
    for n in args.iter().skip(from).map_while(number) {
        ids.push(id(n)?);
    }
    (ids.len() - before).checked_sub(1).ok_or_else(|| super::SYNTAX.to_vec())
}

impl Test {
    fn holds(&self, c: &Client, now: Time) -> bool {
        let is = |addr: &std::net::SocketAddr, text: &Vec<u8>| addr.to_string().as_bytes() == *text;
        let label = |of: fn(&Labels) -> &Vec<u8>, text: &Vec<u8>| {
            c.labels.as_deref().map(of).is_some_and(|label| !label.is_empty() && label == text)
        };
        match self {
            Test::Kind(kind) => *kind == Kind::of(c),
            Test::Addr(text) => is(&c.peer, text),
            Test::LocalAddr(text) => is(&c.local, text),
            Test::Ip(text) => c.peer.ip().to_string().as_bytes() == text,
            Test::User => true,
            Test::Age(age) => now.since(c.since).as_secs() >= *age,
            Test::Idle(idle) => now.since(c.heard).as_secs() >= *idle,
            Test::Flags(letters) => letters.iter().all(|l| flags(c).as_bytes().contains(l)),
            Test::Name(text) => label(|l| &l.name, text),
            Test::LibName(text) => label(|l| &l.lib_name, text),
            Test::LibVer(text) => label(|l| &l.lib_ver, text),
            Test::Database(db) => i64::from(c.db) == *db,
            Test::Redirects(asked) => !asked || redirects(c),
        }
    }
}

impl Word<'_> {
    fn positive(&self) -> Result<u64, Vec<u8>> {
        let n = number(self.value).ok_or_else(|| self.says("is not an integer or out of range"))?;
        u64::try_from(n).ok().filter(|n| *n > 0).ok_or_else(|| self.says("should be greater than 0"))
    }

    fn database(&self) -> Result<i64, Vec<u8>> {
        let shouting = Word { name: &self.name.to_ascii_uppercase(), ..*self };
        let n = number(self.value).filter(|n| i32::try_from(*n).is_ok());
        let n = n.ok_or_else(|| shouting.says("is not an integer or out of range"))?;
        // How many there are is known to the nodes only.
        let last = i64::from(u16::MAX);
        let wrong = || shouting.says(&format!("number should be between 0 and {last}"));
        (0..=last).contains(&n).then_some(n).ok_or_else(wrong)
    }

    fn letters(&self, of: &str, known: &[u8]) -> Result<(), Vec<u8>> {
        if self.value.iter().all(|l| known.contains(l)) {
            return Ok(());
        }
        let (value, name) = (String::from_utf8_lossy(self.value), self.name.to_ascii_uppercase());
        let filter = if self.name == of { "provided" } else { &name };
        Err(said(format_args!("ERR Unknown {of} found in the {filter} filter: {value}")))
    }

    fn says(&self, text: &str) -> Vec<u8> {
        said(format_args!("ERR {} {text}", self.name))
    }
}

impl Kind {
    /// What a client is now.
    pub fn of(client: &Client) -> Kind {
        match client.subscriber {
            Some(_) => Kind::PubSub,
            None => Kind::Normal,
        }
    }

    fn parse(word: &Word<'_>) -> Result<Kind, Vec<u8>> {
        match word.value.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Kind::Normal),
            b"pubsub" => Ok(Kind::PubSub),
            b"master" | b"slave" | b"replica" => Ok(Kind::Replication),
            b"primary" if word.software.has(PRIMARIES) => Ok(Kind::Replication),
            _ => Err(quoting("ERR Unknown client type", word.value)),
        }
    }
}

fn quoting(text: &str, value: &[u8]) -> Vec<u8> {
    said(format_args!("{text} '{}'", String::from_utf8_lossy(value)))
}

fn said(text: std::fmt::Arguments<'_>) -> Vec<u8> {
    let mut error = Vec::new();
    say(&mut error, text);
    error
}
