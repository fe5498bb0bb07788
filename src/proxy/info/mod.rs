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
use crate::cluster::Software;
use crate::command::{Command, Since};
use crate::resp::{encode, Args};

pub use census::Census;
pub use counts::{ErrorCounts, Figures, Host};

/// A section.
struct Section {
    /// Its heading.
    title: &'static str,
    /// By which name it is asked for, in lower case.
    name: &'static str,
    /// Which servers have it.
    since: Since,
    shown: Shown,
    /// Whether nodes are asked for it.
    asks: bool,
    write: fn(&Engine, &Facts<'_>, &mut String),
}

/// When a section is shown without being named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Always,
    /// To who asks for all.
    WithAll,
    Never,
}

/// What sections are made from.
struct Facts<'a> {
    census: &'a Census,
    figures: &'a Figures,
}

/// All sections, in a server's order.
const SECTIONS: [Section; 20] = [
    section("Server", "server", sections::server),
    section("TLS", "tls", sections::tls).with_all().since(Since::valkey(9, 1)),
    section("Clients", "clients", sections::clients).asks(),
    section("Memory", "memory", sections::memory).asks(),
    section("Persistence", "persistence", sections::persistence).asks(),
    section("Threads", "threads", sections::nothing).since(Since::redis(8, 0)),
    section("Stats", "stats", sections::stats).asks(),
    section("Replication", "replication", sections::replication),
    section("CPU", "cpu", sections::cpu),
    section("Modules", "modules", sections::modules).asks(),
    section("Commandstats", "commandstats", sections::commandstats).with_all(),
    section("Errorstats", "errorstats", sections::errorstats),
    section("Latencystats", "latencystats", sections::latencystats).with_all(),
    section("Cluster", "cluster", sections::cluster),
    section("Cluster Info", "cluster_info", sections::nothing).with_all().since(Since::valkey(9, 1)),
    section("Scripting Engines", "scriptingengines", sections::nothing).with_all().since(Since::valkey(8, 1)),
    section("Keyspace", "keyspace", sections::keyspace).asks(),
    section("Keysizes", "keysizes", sections::keysizes).asks().since(Since::redis(8, 0)),
    section("Debug", "debug", sections::nothing).on_demand().since(Since::both((7, 2), (7, 2))),
    section("Proxy", "proxy", sections::proxy),
];

/// Set of sections, as bits by place in [`SECTIONS`].
type Chosen = u32;

const fn section(
    title: &'static str,
    name: &'static str,
    write: fn(&Engine, &Facts<'_>, &mut String),
) -> Section {
    Section { title, name, since: Since::ALWAYS, shown: Shown::Always, asks: false, write }
}

impl Section {
    const fn since(self, since: Since) -> Section {
        Section { since, ..self }
    }

    const fn with_all(self) -> Section {
        Section { shown: Shown::WithAll, ..self }
    }

    const fn on_demand(self) -> Section {
        Section { shown: Shown::Never, ..self }
    }

    const fn asks(self) -> Section {
        Section { asks: true, ..self }
    }
}

impl Engine {
    /// `INFO [section ...]`.
    pub(super) fn info(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) -> Step {
        let chosen = chosen(args, &self.software);
        let asks_nodes = SECTIONS.iter().enumerate().any(|(i, s)| s.asks && chosen & (1 << i) != 0);
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
        for (i, section) in SECTIONS.iter().enumerate() {
            if census.chosen & (1 << i) == 0 {
                continue;
            }
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            text.push_str("# ");
            text.push_str(section.title);
            text.push_str("\r\n");
            (section.write)(self, &facts, &mut text);
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
fn chosen(args: &Args<'_>, software: &Software) -> Chosen {
    if args.len() == 1 {
        return named(b"default", software);
    }
    args.iter().skip(1).fold(0, |chosen, name| chosen | named(name, software))
}

fn named(name: &[u8], software: &Software) -> Chosen {
    let is = |word: &str| name.eq_ignore_ascii_case(word.as_bytes());
    let (default, all) = (is("default"), is("all") || is("everything"));
    let means = |s: &Section| match s.shown {
        Shown::Always if default || all => true,
        Shown::WithAll if all => true,
        _ => is(s.name),
    };
    let sections = SECTIONS.iter().enumerate().filter(|(_, s)| means(s) && software.has(s.since));
    sections.fold(0, |chosen, (i, _)| chosen | 1 << i)
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
        let redis = Software::redis("7.0.15");
        let one = |name: &str| named(name.as_bytes(), &redis);
        assert_eq!(one("SERVER"), 1);
        assert_eq!(one("nosuch") | one("") | one("threads") | one("cluster info"), 0);
        assert_eq!(one("All"), one("everything"));
        assert_eq!(one("All") & !one("default"), one("commandstats") | one("latencystats"));
        assert_eq!(one("keyspace").count_ones(), 1);
    }

    #[test]
    fn newer_servers_have_more_sections() {
        let (old, new) = (Software::redis("7.0.15"), Software::redis("8.2.0"));
        let all = |software| named(b"all", software);
        assert_eq!(all(&new) & !all(&old), named(b"threads", &new) | named(b"keysizes", &new));
        assert!(named(b"debug", &new) != 0 && all(&new) & named(b"debug", &new) == 0);
    }

    #[test]
    fn ids_have_forty_digits_and_follow_from_their_text() {
        let id = hex_id("10.0.0.1:8088");
        assert!(id.len() == 40 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        assert_eq!(id, hex_id("10.0.0.1:8088"));
        assert_ne!(id, hex_id("10.0.0.1:8089"));
    }
}
