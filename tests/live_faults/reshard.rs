//! Slots move while clients work.

use crate::support::load::Load;
use crate::support::{Cluster, Proxy};

#[test]
fn clients_notice_nothing_while_slots_move() {
    let cluster = Cluster::start();
    let mut proxy = Proxy::start(&cluster, &["-max-procs", "2"]);
    let load = Load::start(proxy.port, 8);
    load.wait_answered(2000);
    cluster.reshard(0..150, 1);
    cluster.reshard(8000..8100, 2);
    cluster.reshard(0..100, 0);
    load.wait_answered(2000);
    let report = load.stop();
    report.assert_clean();
    report.assert_counted(proxy.client());
    proxy.assert_alive();
}

/// A node without slots joins, gets all slots of another, which then leaves.
#[test]
fn clients_notice_nothing_while_a_node_is_emptied() {
    let cluster = Cluster::with(3, 0, &["--cluster-allow-replica-migration", "no"]);
    let proxy = Proxy::start(&cluster, &["-max-procs", "1"]);
    let load = Load::start(proxy.port, 4);
    load.wait_answered(1000);
    // All keys of the load, and with them the slots that they are in, are somewhere; 600 slots are enough to meet many.
    cluster.reshard((0..16384).step_by(27), 2);
    load.wait_answered(1000);
    let report = load.stop();
    report.assert_clean();
    report.assert_counted(proxy.client());
}
