//! CLUSTER: the proxy as a cluster of one node that owns all slots, at the address by which the client reached it or at
//! `-announce-addr`. So cluster clients work, and never see a node behind it. Forms are those of Redis 7.0.15 where
//! nothing is said of versions.

use super::client::Client;
use super::dispatch::Step;
use super::engine::Engine;
use super::errors::{self, say};
use super::forms;
use super::info::hex_id;
use super::session::{number, NOT_AN_INTEGER};
use crate::base::arena::Key;
use crate::cluster::SLOTS;
use crate::command::{self, Command, Since};
use crate::resp::{encode, Args, Protocol};

/// What one client sees.
struct View {
    host: String,
    port: u16,
    /// Follows from host and port alone, so that it is the same on all workers and after a restart.
    id: String,
    protocol: Protocol,
}

/// The fields of CLUSTER INFO, and who shows them.
const INFO_FIELDS: [(&str, Since); 22] = [
    ("cluster_state", Since::ALWAYS),
    ("cluster_slots_assigned", Since::ALWAYS),
    ("cluster_slots_ok", Since::ALWAYS),
    ("cluster_slots_pfail", Since::ALWAYS),
    ("cluster_slots_fail", Since::ALWAYS),
    ("cluster_nodes_pfail", Since::valkey(9, 0)),
    ("cluster_nodes_fail", Since::valkey(9, 0)),
    ("cluster_voting_nodes_pfail", Since::valkey(9, 0)),
    ("cluster_voting_nodes_fail", Since::valkey(9, 0)),
    ("cluster_known_nodes", Since::ALWAYS),
    ("cluster_size", Since::ALWAYS),
    ("cluster_current_epoch", Since::ALWAYS),
    ("cluster_my_epoch", Since::ALWAYS),
    ("cluster_stats_messages_sent", Since::ALWAYS),
    ("cluster_stats_messages_received", Since::ALWAYS),
    ("cluster_stats_bytes_sent", Since::valkey(9, 1)),
    ("cluster_stats_bytes_received", Since::valkey(9, 1)),
    ("cluster_stats_pubsub_bytes_sent", Since::valkey(9, 1)),
    ("cluster_stats_pubsub_bytes_received", Since::valkey(9, 1)),
    ("cluster_stats_module_bytes_sent", Since::valkey(9, 1)),
    ("cluster_stats_module_bytes_received", Since::valkey(9, 1)),
    ("total_cluster_links_buffer_limit_exceeded", Since::ALWAYS),
];

/// Nodes listen to each other this far above the port for clients.
const BUS_OFFSET: u16 = 10_000;

impl Engine {
    pub(super) fn cluster_view(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) -> Step {
        let Some(view) = self.view(key) else { return Step::Taken };
        let mut out = Vec::new();
        match row.name {
            "slots" => view.slots(&mut out),
            "shards" => view.shards(&mut out, self.software.has(forms::SHARD_IDS)),
            "nodes" => encode::verbatim(&mut out, view.nodes().as_bytes(), view.protocol),
            "info" => encode::verbatim(&mut out, self.cluster_info().as_bytes(), view.protocol),
            "myid" => encode::bulk(&mut out, view.id.as_bytes()),
            "myshardid" => encode::bulk(&mut out, view.shard_id().as_bytes()),
            "keyslot" => encode::integer(&mut out, command::slot(args.get(2).unwrap_or_default()).into()),
            "links" | "getslotmigrations" => encode::array(&mut out, 0),
            "count-failure-reports" => view.of_node(args, &mut out, |out| encode::integer(out, 0)),
            "replicas" | "slaves" => view.of_node(args, &mut out, |out| encode::array(out, 0)),
            "countkeysinslot" | "getkeysinslot" => return self.of_slot(key, row, args),
            _ => return self.refuse(key, |out| errors::refused(out, NO_STATS)),
        }
        self.reply(key, &out)
    }

    fn view(&self, key: Key<Client>) -> Option<View> {
        let c = self.clients.get(key)?;
        let (host, port) = self.announced(c.local);
        Some(View { id: hex_id(&format!("{host}:{port}")), host, port, protocol: c.protocol() })
    }

    /// COUNTKEYSINSLOT and GETKEYSINSLOT go to the slot's owner.
    fn of_slot(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) -> Step {
        let (slot, count) = (number(args.get(2).unwrap_or_default()), args.get(3).map(number));
        let (Some(slot), Some(count)) = (slot, count.unwrap_or(Some(0))) else {
            return self.refuse(key, |out| out.extend_from_slice(NOT_AN_INTEGER));
        };
        match u16::try_from(slot).ok().filter(|slot| usize::from(*slot) < SLOTS && count >= 0) {
            Some(slot) => self.send_whole(key, row, slot, args.frame()),
            None if row.name == "getkeysinslot" => {
                self.refuse(key, |out| out.extend_from_slice(b"ERR Invalid slot or number of keys"))
            }
            None => self.refuse(key, |out| out.extend_from_slice(b"ERR Invalid slot")),
        }
    }

    /// The state is that of the cluster behind; how it is made is not shown.
    fn cluster_info(&self) -> String {
        let covered = self.nodes.covered();
        let state = if covered == SLOTS { "ok" } else { "fail" };
        let value = |name| match name {
            "cluster_state" => state.to_owned(),
            "cluster_slots_assigned" | "cluster_slots_ok" => covered.to_string(),
            "cluster_known_nodes" | "cluster_size" | "cluster_current_epoch" | "cluster_my_epoch" => {
                "1".into()
            }
            _ => "0".into(),
        };
        let shown = INFO_FIELDS.iter().filter(|(_, since)| self.software.has(*since));
        shown.map(|(name, _)| format!("{name}:{}\r\n", value(*name))).collect()
    }
}

/// Why SLOT-STATS is refused.
const NO_STATS: &str = "CLUSTER SLOT-STATS is not available through the proxy: ask the nodes of the cluster";

impl View {
    fn slots(&self, out: &mut Vec<u8>) {
        encode::array(out, 1);
        encode::array(out, 3);
        encode::integer(out, 0);
        encode::integer(out, SLOTS as i64 - 1);
        encode::array(out, 4);
        encode::bulk(out, self.host.as_bytes());
        encode::integer(out, self.port.into());
        encode::bulk(out, self.id.as_bytes());
        encode::map(out, 0, self.protocol);
    }

    fn shards(&self, out: &mut Vec<u8>, with_id: bool) {
        encode::array(out, 1);
        encode::map(out, if with_id { 3 } else { 2 }, self.protocol);
        encode::bulk(out, b"slots");
        encode::array(out, 2);
        encode::integer(out, 0);
        encode::integer(out, SLOTS as i64 - 1);
        encode::bulk(out, b"nodes");
        encode::array(out, 1);
        encode::map(out, 7, self.protocol);
        encode::bulk(out, b"id");
        encode::bulk(out, self.id.as_bytes());
        encode::bulk(out, b"port");
        encode::integer(out, self.port.into());
        for (name, value) in [("ip", self.host.as_str()), ("endpoint", &self.host), ("role", "master")] {
            encode::bulk(out, name.as_bytes());
            encode::bulk(out, value.as_bytes());
        }
        encode::bulk(out, b"replication-offset");
        encode::integer(out, 0);
        encode::bulk(out, b"health");
        encode::bulk(out, b"online");
        if with_id {
            encode::bulk(out, b"id");
            encode::bulk(out, self.shard_id().as_bytes());
        }
    }

    fn shard_id(&self) -> String {
        hex_id(&format!("shard {}", self.id))
    }

    fn nodes(&self) -> String {
        let View { host, port, id, .. } = self;
        let bus = port.checked_add(BUS_OFFSET).unwrap_or(0);
        format!("{id} {host}:{port}@{bus} myself,master - 0 0 1 connected 0-{}\n", SLOTS - 1)
    }

    /// Writes what is said of the node that argument 2 names, which can only be this one.
    fn of_node(&self, args: &Args<'_>, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let id = args.get(2).unwrap_or_default();
        if id == self.id.as_bytes() {
            return write(out);
        }
        let mut error = Vec::new();
        say(&mut error, format_args!("ERR Unknown node {}", String::from_utf8_lossy(id)));
        encode::error(out, &error);
    }
}
