//! The commands that an operator has refused by `-refuse-commands`, besides those that the table refuses.
//!
//! They are looked up by the numbers of their rows, as every request passes here.

use super::client::Client;
use super::dispatch::Step;
use super::engine::Engine;
use super::errors;
use crate::base::arena::Key;
use crate::command::{self, Command};

/// A set of rows of the command table.
#[derive(Debug, Default)]
pub struct Refusals {
    /// A bit per row; empty when nothing is refused.
    bits: Box<[u64]>,
    /// Names that the table does not know; the cluster may.
    others: Vec<String>,
}

impl Refusals {
    /// The rows that `names` mean: `flushall`, `config` with all its sub-commands, `config|set` alone. Also returns the
    /// names that the table does not know.
    pub fn new(names: &[String]) -> (Self, Vec<&str>) {
        let (mut refusals, mut unknown) = (Refusals::default(), Vec::new());
        for name in names {
            let rows = rows(name);
            if rows.is_empty() {
                unknown.push(name.as_str());
                refusals.others.push(name.clone());
            }
            rows.into_iter().for_each(|row| refusals.add(row.id));
        }
        (refusals, unknown)
    }

    /// Whether a row is refused.
    #[inline]
    pub fn has(&self, id: u16) -> bool {
        !self.bits.is_empty() && self.holds(id)
    }

    /// Whether a command that the table does not know is refused, by its name or that of its container.
    pub fn has_name(&self, name: &str) -> bool {
        let container = name.split('|').next().unwrap_or(name);
        self.others.iter().any(|o| o.eq_ignore_ascii_case(name) || o.eq_ignore_ascii_case(container))
    }

    fn holds(&self, id: u16) -> bool {
        self.bits.get(usize::from(id / 64)).is_some_and(|word| word & (1 << (id % 64)) != 0)
    }

    fn add(&mut self, id: u16) {
        if self.bits.is_empty() {
            self.bits = vec![0; command::count().div_ceil(64)].into();
        }
        if let Some(word) = self.bits.get_mut(usize::from(id / 64)) {
            *word |= 1 << (id % 64);
        }
    }
}

impl Engine {
    /// A command that the operator has refused; inside MULTI, EXEC will be refused, too.
    #[cold]
    pub(super) fn refuse_as_told(&mut self, key: Key<Client>, command: &'static Command) -> Step {
        self.tally.rejected(command.id);
        self.refuse_in_multi(key, |out| {
            errors::refused_by_operator(out, &command::full_name(command.id));
        })
    }
}

/// The rows that a lower-case name means; none when the table does not know it.
fn rows(name: &str) -> Vec<&'static Command> {
    match name.split_once('|') {
        None => command::lookup(name.as_bytes())
            .map(|row| std::iter::once(row).chain(row.subcommands).collect())
            .unwrap_or_default(),
        Some((container, word)) => command::lookup(container.as_bytes())
            .and_then(|row| command::subcommand(row, word.as_bytes()))
            .into_iter()
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(names: &[&str]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|n| n.to_string()).collect();
        let (refusals, _) = Refusals::new(&names);
        let ids = 0..command::count() as u16;
        ids.filter(|id| refusals.has(*id)).map(command::full_name).collect()
    }

    #[test]
    fn nothing_is_refused_by_nothing() {
        assert_eq!(refused(&[]), Vec::<String>::new());
    }

    #[test]
    fn a_name_means_a_command_a_container_or_one_subcommand() {
        assert_eq!(refused(&["flushall", "config|set"]), ["flushall", "config|set"]);
        let config = refused(&["config"]);
        assert!(config.len() > 4 && config.iter().all(|n| n.starts_with("config")), "{config:?}");
    }

    #[test]
    fn names_that_the_table_does_not_know_are_told() {
        let names = ["nosuch".to_string(), "config|nosuch".into(), "get|x".into(), "get".into()];
        assert_eq!(Refusals::new(&names).1, ["nosuch", "config|nosuch", "get|x"]);
    }
}
