//! INFO: sections and fields in a server's order and form, as clients and tools read them.
//!
//! What is about connections and commands is counted here, over all workers. What is about data (memory, keys, hits)
//! is that of the cluster: every primary is asked for its INFO, and the figures are summed. A primary that does not
//! answer within a second leaves those fields out rather than wrong. The proxy's own memory and state are in a section
//! of their own.

mod census;
mod counts;
mod sections;

use std::net::SocketAddr;

use super::across::{Question, Then};
use super::client::Client;
use super::dispatch::Step;
use super::engine::Engine;
use super::part::{Owner, Part};
use crate::base::arena::Key;
use crate::base::random::Random;
use crate::command::Command;
use crate::resp::{encode, Args};

pub use census::Census;
pub use counts::{ErrorCounts, Figures, Host};

/// A section: its name, whether nodes are asked for it, and what writes it.
type Section = (&'static str, bool, fn(&Engine, &Facts<'_>, &mut String));

/// What sections are made from.
struct Facts<'a> {
    census: &'a Census,
    figures: &'a Figures,
}

/// All sections, in a server's order.
const SECTIONS: [Section; 14] = [
    ("Server", false, sections::server),
    ("Clients", true, sections::clients),
    ("Memory", true, sections::memory),
    ("Persistence", true, sections::persistence),
    ("Stats", true, sections::stats),
    ("Replication", false, sections::replication),
    ("CPU", false, sections::cpu),
    ("Modules", false, sections::modules),
    ("Commandstats", false, sections::commandstats),
    ("Errorstats", false, sections::errorstats),
    ("Latencystats", false, sections::latencystats),
    ("Cluster", false, sections::cluster),
    ("Keyspace", true, sections::keyspace),
    ("Proxy", false, sections::proxy),
];

/// Set of sections, as bits by place in [`SECTIONS`].
type Chosen = u16;
const EVERY_SECTION: Chosen = (1 << SECTIONS.len()) - 1;

/// What is shown on demand only: Commandstats and Latencystats.
const LONG_SECTIONS: Chosen = 1 << 8 | 1 << 10;

impl Engine {
    /// `INFO [section ...]`.
    pub(super) fn info(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) -> Step {
        let chosen = chosen(args);
        let asks_nodes = SECTIONS.iter().enumerate().any(|(i, s)| s.1 && chosen & (1 << i) != 0);
        let local = self.clients.get(key).map(|c| c.local);
        let slots =
            if asks_nodes { self.nodes.walk().iter().map(|(slot, _)| *slot).collect() } else { Vec::new() };
        let census = Census::new(chosen, slots.len(), local);
        let kind = self.kind_for(key, row);
        let parts = |engine: &mut Engine, ask| {
            let mut request = Vec::new();
            encode::request(&mut request, &["INFO"]);
            for slot in &slots {
                let (owner, born_us) = (Owner::Ask(ask), engine.now_us());
                let part =
                    Part { owner, born_us, slot: *slot, command: row.id, attempts: 0, kind, block: false };
                engine.send(part, &request);
            }
            slots.len()
        };
        self.ask_with_parts(key, Question::Figures, Then::Info(Box::new(census)), parts);
        Step::Taken
    }

    /// The text of all chosen sections.
    pub(super) fn info_text(&self, census: &Census, figures: &Figures) -> String {
        let facts = Facts { census, figures };
        let mut text = String::new();
        for (i, (name, _, write)) in SECTIONS.iter().enumerate() {
            if census.chosen & (1 << i) == 0 {
                continue;
            }
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            text.push_str("# ");
            text.push_str(name);
            text.push_str("\r\n");
            write(self, &facts, &mut text);
        }
        text
    }

    /// Host and port under which clients know this proxy: `-announce-addr`, or by which one of them reached it.
    pub(super) fn announced(&self, local: SocketAddr) -> (String, u16) {
        let told = self.config.announce_addr.as_deref().and_then(|a| a.rsplit_once(':'));
        match told.and_then(|(host, port)| Some((host, port.parse().ok()?))) {
            Some((host, port)) => (host.trim_matches(['[', ']']).to_owned(), port),
            None => (local.ip().to_canonical().to_string(), local.port()),
        }
    }
}

/// As a server's `genInfoSectionsDict`; sections it does not know are ignored.
fn chosen(args: &Args<'_>) -> Chosen {
    if args.len() == 1 {
        return EVERY_SECTION & !LONG_SECTIONS;
    }
    args.iter().skip(1).fold(0, |chosen, name| chosen | named(name))
}

fn named(name: &[u8]) -> Chosen {
    let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
    match SECTIONS.iter().position(|s| is(s.0)) {
        Some(place) => 1 << place,
        None if is("default") => EVERY_SECTION & !LONG_SECTIONS,
        None if is("all") || is("everything") => EVERY_SECTION,
        None => 0,
    }
}

/// Forty hexadecimal digits that follow from `text` alone.
pub(super) fn hex_id(text: &str) -> String {
    // FNV-1a, which only spreads the text; nobody must be kept from making two texts with one id.
    let seed = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut random = Random::new(seed);
    (0..5).map(|_| format!("{:08x}", random.number() >> 32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_chosen_as_in_a_server() {
        let one = |name: &str| named(name.as_bytes());
        assert_eq!(one("SERVER"), 1);
        assert_eq!(one("nosuch") | one(""), 0);
        assert_eq!((one("All"), one("everything")), (EVERY_SECTION, EVERY_SECTION));
        assert_eq!(one("keyspace"), 1 << 12);
        assert_eq!(one("commandstats") | one("latencystats"), LONG_SECTIONS);
        assert_eq!(one("default"), EVERY_SECTION & !LONG_SECTIONS);
    }

    #[test]
    fn ids_have_forty_digits_and_follow_from_their_text() {
        let id = hex_id("10.0.0.1:8088");
        assert!(id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        assert_eq!(id, hex_id("10.0.0.1:8088"));
        assert_ne!(id, hex_id("10.0.0.1:8089"));
    }
}
