//! Commands of a real module, FalkorDB, loaded on every node of a cluster of Redis 8.2.

use std::path::Path;

use crate::support::frame::{is_error, show, show_all};
use crate::support::keys::tag_where;
use crate::support::{Cluster, Proxy};

#[test]
fn graphs_are_routed_by_their_keys() {
    let Ok(server) = Path::new("target/venv/servers/redis-8.2").canonicalize() else {
        panic!("tools/install-test-tools.sh installs the server and its module");
    };
    if std::env::var("REDIS_SERVER").is_ok() {
        return; // The module fits its own server only.
    }
    let module = server.with_file_name("falkordb.so");
    let cluster = Cluster::with_server(&server, 3, &["--loadmodule", module.to_str().unwrap()]);
    let proxy = Proxy::start(&cluster, &["-max-procs", "1"]);
    let mut client = proxy.client();
    for third in 0..3 {
        let graph = format!("graph:{{{}}}", tag_where(|slot| slot / 5462 == third));
        let made = client.call(&["GRAPH.QUERY", &graph, "CREATE (:city {name: 'Ulm'})"]);
        assert!(show_all(&made).contains("Nodes created: 1"), "{}", show(&made));
        let read = client.call(&["graph.RO_QUERY", &graph, "MATCH (c:city) RETURN c.name"]);
        assert!(show_all(&read).contains("Ulm"), "{}", show(&read));
        assert_eq!(client.call(&["MULTI"]), b"+OK\r\n");
        assert_eq!(client.call(&["GRAPH.DELETE", &graph]), b"+QUEUED\r\n");
        let reply = client.call(&["EXEC"]);
        assert!(!is_error(&reply), "{}", show(&reply));
    }
    assert!(is_error(&client.call(&["GRAPH.NOSUCH", "x"])));
}
