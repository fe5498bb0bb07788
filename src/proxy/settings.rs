//! CONFIG SET goes to every node, but for settings that all nodes cannot share or that would lock the proxy out of them.

use super::client::Client;
use super::dispatch::Step;
use super::engine::Engine;
use super::errors;
use crate::base::arena::Key;
use crate::command::{Command, Merge};
use crate::resp::Args;

/// Why a setting is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Barred {
    /// The proxy and the nodes could not log in to one another any more.
    Password,
    /// It differs from node to node.
    Address,
}

impl Engine {
    /// CONFIG SET.
    pub(super) fn config_set(
        &mut self,
        key: Key<Client>,
        row: &'static Command,
        merge: Merge,
        args: &Args<'_>,
    ) -> Step {
        let names = (2..args.len()).step_by(2).filter_map(|i| args.get(i));
        for name in names {
            if let Some(why) = barred(name) {
                let name = String::from_utf8_lossy(name).to_ascii_lowercase();
                return self.reject(key, row, |out| errors::refused_setting(out, &name, why.text()));
            }
        }
        self.every_node(key, row, merge, args)
    }
}

impl Barred {
    fn text(self) -> &'static str {
        match self {
            Barred::Password => {
                "passwords are changed on the nodes of the cluster, with -password of the proxy"
            }
            Barred::Address => "it goes to every node, and this is one node's own",
        }
    }
}

fn barred(name: &[u8]) -> Option<Barred> {
    let name = name.to_ascii_lowercase();
    match name.as_slice() {
        b"requirepass" | b"masterauth" | b"masteruser" | b"primaryauth" | b"primaryuser" => {
            Some(Barred::Password)
        }
        b"bind" | b"port" | b"tls-port" => Some(Barred::Address),
        _ if [&b"cluster-announce-"[..], b"replica-announce-", b"slave-announce-"]
            .iter()
            .any(|prefix| name.starts_with(prefix)) =>
        {
            Some(Barred::Address)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_barred_in_any_case_of_letters() {
        assert_eq!(barred(b"RequirePass"), Some(Barred::Password));
        assert_eq!(barred(b"PORT"), Some(Barred::Address));
        assert_eq!(barred(b"cluster-announce-ip"), Some(Barred::Address));
    }

    #[test]
    fn what_all_nodes_can_share_is_not() {
        for name in [&b"maxmemory"[..], b"notify-keyspace-events", b"port*", b"save", b""] {
            assert_eq!(barred(name), None);
        }
    }
}
