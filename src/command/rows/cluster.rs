//! Rows: CLUSTER, which shows the proxy as one node that owns all slots.

use super::super::spec::{Class, Command, Flags, Since};
use super::{container, help, refused, row};

pub(super) const ROWS: &[Command] = &[container("cluster", CLUSTER)];

const NO_CHANGE: &str = "CLUSTER commands that change the cluster are not available through the proxy: \
    send them to a node";

const CLUSTER: &[Command] = &[
    view("slots", 2),
    view("shards", 2),
    view("nodes", 2),
    view("info", 2),
    view("myid", 2),
    view("myshardid", 2).since(Since::both((7, 2), (7, 2))),
    view("keyslot", 3),
    view("countkeysinslot", 3),
    view("getkeysinslot", 4),
    view("count-failure-reports", 3),
    view("links", 2),
    view("replicas", 3),
    view("slaves", 3),
    view("slot-stats", -4).since(Since::both((8, 2), (8, 0))),
    view("getslotmigrations", 2).since(Since::valkey(9, 0)),
    help(),
    change("addslots", -3),
    change("addslotsrange", -4),
    change("bumpepoch", 2),
    change("cancelslotmigrations", 2).since(Since::valkey(9, 0)),
    change("delslots", -3),
    change("delslotsrange", -4),
    change("failover", -2),
    change("flushslot", -3).with(Flags::WRITE).since(Since::valkey(9, 0)),
    change("flushslots", 2),
    change("forget", 3),
    change("meet", -4),
    change("migrateslots", -4).since(Since::valkey(9, 0)),
    change("replicate", -3).with(Flags::ARITY_GREW),
    change("reset", -2),
    change("saveconfig", 2),
    change("set-config-epoch", 3),
    change("setslot", -4),
    change("syncslots", -3).since(Since::valkey(9, 0)),
];

const fn view(name: &'static str, arity: i16) -> Command {
    row(name, arity, Class::ClusterView)
}

const fn change(name: &'static str, arity: i16) -> Command {
    refused(name, arity, NO_CHANGE)
}
