//! Commands that the table does not know, as the cluster's own `COMMAND INFO` describes them: those of modules and of
//! newer servers. Reads the RESP2 form of that reply; must not know who asked or when.

use super::slot::slot;
use super::spec::{Class, Command, Flags, Keys, Since};
use super::table::count;
use crate::resp::{Args, Value};

/// What a cluster says of a command, or of a sub-command of such a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// As the server writes it, `GRAPH.QUERY` or `tool|run`.
    pub name: String,
    arity: i64,
    flags: Vec<String>,
    specs: Vec<Spec>,
    subcommands: Vec<Foreign>,
}

/// Where a request of such a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// To the owner of the slot of its keys.
    Slot(u16),
    /// It has no keys.
    Anywhere,
    /// It may have keys that are not found here; a node finds them, and names the owner by MOVED.
    Hidden,
    /// Its keys are in several slots.
    Crossed,
}

/// A key specification, <https://redis.io/docs/latest/develop/reference/key-specs/>.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Spec {
    begin: Begin,
    find: Find,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Begin {
    Index(i64),
    Keyword(Vec<u8>, i64),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Find {
    Range { last: i64, step: i64, limit: i64 },
    Counted { count: i64, first: i64, step: i64 },
}

impl Foreign {
    /// Reads the one element of the reply to `COMMAND INFO name`; `None` when the server does not know the command, or
    /// says nothing that can be understood.
    pub fn read(info: &Value) -> Option<Foreign> {
        let [name, arity, flags, first, last, step, rest @ ..] = array(info)? else { return None };
        let flags: Vec<String> = array(flags)?.iter().filter_map(|f| Some(f.as_str()?.to_owned())).collect();
        let specs = match flags.iter().any(|f| f == "movablekeys") {
            true => rest.get(2).and_then(array).unwrap_or_default().iter().filter_map(Spec::read).collect(),
            false => Spec::of_range(first.as_int()?, last.as_int()?, step.as_int()?).into_iter().collect(),
        };
        let subcommands =
            rest.get(3).and_then(array).unwrap_or_default().iter().filter_map(Foreign::read).collect();
        Some(Foreign { name: name.as_str()?.to_owned(), arity: arity.as_int()?, flags, specs, subcommands })
    }

    /// The row that decides about a request: this one, or that of the sub-command; `None` when it has none such.
    pub fn resolve(&self, args: &Args<'_>) -> Option<&Foreign> {
        let Some(word) = args.get(1).filter(|_| !self.subcommands.is_empty()) else { return Some(self) };
        let own = |f: &&Foreign| {
            f.name.rsplit('|').next().unwrap_or_default().as_bytes().eq_ignore_ascii_case(word)
        };
        self.subcommands.iter().find(own)
    }

    /// Whether the server lists a flag for it.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }

    /// Whether it may be called with `argc` arguments, its own name included.
    pub fn arity_ok(&self, argc: usize) -> bool {
        let (argc, arity) = (i64::try_from(argc).unwrap_or(i64::MAX), self.arity);
        argc == arity || (arity < 0 && argc >= arity.saturating_neg())
    }

    /// The keys of a request, as far as the specifications tell.
    pub fn keys<'a>(&'a self, args: &'a Args<'a>) -> impl Iterator<Item = &'a [u8]> {
        self.specs.iter().flat_map(|spec| spec.keys(args)).filter_map(|at| args.get(at))
    }

    /// Where a request goes.
    pub fn place(&self, args: &Args<'_>) -> Place {
        let mut found = None;
        for key in self.keys(args) {
            let slot = slot(key);
            if *found.get_or_insert(slot) != slot {
                return Place::Crossed;
            }
        }
        match found {
            Some(slot) => Place::Slot(slot),
            None if self.has("movablekeys") => Place::Hidden,
            None => Place::Anywhere,
        }
    }

    /// The row that stands for it where rows of the table are asked for.
    pub fn stand_in(&self) -> &'static Command {
        let access = if self.has("write") { 2 } else { usize::from(self.has("readonly")) };
        &STAND_INS[access + 3 * usize::from(self.has("blocking"))]
    }
}

/// The stand-in with an id; they are numbered behind the rows of the table.
pub(super) fn stand_in(id: usize) -> &'static Command {
    &STAND_INS[id - count()]
}

/// Whether a row only stands for a command that the table does not know.
pub fn is_stand_in(command: &Command) -> bool {
    usize::from(command.id) >= count()
}

/// By what they access (unknown, reading, writing), then those that may wait.
static STAND_INS: [Command; 6] = [
    new_stand_in(0, Flags(0), Class::Slot),
    new_stand_in(1, Flags::READONLY, Class::Slot),
    new_stand_in(2, Flags::WRITE, Class::Slot),
    new_stand_in(3, Flags::BLOCKING, Class::Blocking),
    new_stand_in(4, Flags::BLOCKING.and(Flags::READONLY), Class::Blocking),
    new_stand_in(5, Flags::BLOCKING.and(Flags::WRITE), Class::Blocking),
];

const fn new_stand_in(n: usize, flags: Flags, class: Class) -> Command {
    let id = (count() + n) as u16;
    let (name, keys, since) = ("of a module", Keys::None, Since::ALWAYS);
    Command { name, id, arity: -1, of: None, flags, keys, since, class, plain: false, subcommands: &[] }
}

impl Spec {
    /// First, last and step as COMMAND has them; first is 0 when there are no keys.
    fn of_range(first: i64, last: i64, step: i64) -> Option<Spec> {
        // The last key of a specification counts from the first one.
        let last = if last < 0 { last } else { last - first };
        (first > 0).then_some(Spec { begin: Begin::Index(first), find: Find::Range { last, step, limit: 0 } })
    }

    /// `None` for what is called unknown.
    fn read(spec: &Value) -> Option<Spec> {
        let (begin, find) = (field(spec, "begin_search")?, field(spec, "find_keys")?);
        let begin = match (field(begin, "type")?.as_str()?, field(begin, "spec")?) {
            ("index", spec) => Begin::Index(int(spec, "index")?),
            ("keyword", spec) => {
                Begin::Keyword(field(spec, "keyword")?.as_bytes()?.to_vec(), int(spec, "startfrom")?)
            }
            _ => return None,
        };
        let find = match (field(find, "type")?.as_str()?, field(find, "spec")?) {
            ("range", spec) => {
                let (last, step) = (int(spec, "lastkey")?, int(spec, "keystep")?);
                Find::Range { last, step, limit: int(spec, "limit")? }
            }
            ("keynum", spec) => {
                let (count, first) = (int(spec, "keynumidx")?, int(spec, "firstkey")?);
                Find::Counted { count, first, step: int(spec, "keystep")? }
            }
            _ => return None,
        };
        Some(Spec { begin, find })
    }

    /// Positions of keys, as a server's `getKeysUsingKeySpecs` finds them; some may lie behind the last argument.
    fn keys(&self, args: &Args<'_>) -> Vec<usize> {
        let argc = i64::try_from(args.len()).unwrap_or(i64::MAX);
        let Some(first) = self.begin.find(args, argc) else { return Vec::new() };
        let (first, last, step) = match self.find {
            Find::Range { last, step, .. } if last >= 0 => (first, first.saturating_add(last), step),
            Find::Range { last, step, limit: 0 | 1 } => (first, argc.saturating_add(last), step),
            Find::Range { last, step, limit } => (first, first + (argc - first) / limit + last, step),
            Find::Counted { count, first: skip, step } => {
                let n = at(args, first.saturating_add(count))
                    .and_then(|n| std::str::from_utf8(n).ok()?.parse::<i64>().ok());
                let first = first.saturating_add(skip);
                let behind = n.unwrap_or(0).saturating_sub(1).saturating_mul(step);
                (first, if n.is_some_and(|n| n > 0) { first.saturating_add(behind) } else { -1 }, step)
            }
        };
        let step = usize::try_from(step).ok().filter(|s| *s > 0).unwrap_or(1);
        let (Ok(first), Ok(last)) = (usize::try_from(first), usize::try_from(last)) else {
            return Vec::new();
        };
        (first.max(1)..=last.min(args.len())).step_by(step).collect()
    }
}

impl Begin {
    fn find(&self, args: &Args<'_>, argc: i64) -> Option<i64> {
        match self {
            Begin::Index(index) => Some(*index),
            Begin::Keyword(word, from) => {
                let is = |i: &i64| at(args, *i).is_some_and(|a| a.eq_ignore_ascii_case(word));
                let found = match *from > 0 {
                    true => (*from..argc).find(is),
                    false => (1..=argc.saturating_add(*from)).rev().find(is),
                };
                found.map(|i| i + 1)
            }
        }
    }
}

fn at<'a>(args: &Args<'a>, i: i64) -> Option<&'a [u8]> {
    args.get(usize::try_from(i).ok()?)
}

fn array(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(all) | Value::Set(all) => Some(all),
        _ => None,
    }
}

/// A field of a map in its RESP2 form.
fn field<'a>(map: &'a Value, name: &str) -> Option<&'a Value> {
    array(map)?.chunks_exact(2).find(|pair| pair[0].as_str() == Some(name)).map(|pair| &pair[1])
}

fn int(map: &Value, name: &str) -> Option<i64> {
    field(map, name)?.as_int()
}
