//! The command line: one argument per line of the input. What is accepted is within its bounds, what is not is told in
//! one line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use redis_cluster_proxy::config::{from_args, Invocation};

/// Looks at one input.
pub fn check(data: &[u8]) {
    let args = data.split(|b| *b == b'\n').map(|arg| OsString::from_vec(arg.to_vec()));
    match from_args(args) {
        Err(error) => {
            let text = error.to_string();
            assert!(
                text.starts_with("redis-cluster-proxy: ") && text.len() < data.len() * 12 + 1000,
                "{text}"
            );
            assert!(!text.contains('\n'), "{text}");
        }
        Ok(Invocation::Run(settings)) => {
            let c = &settings.proxy;
            assert!(c.workers > 0 && c.max_clients > 0 && !c.startup_nodes.is_empty());
            assert!(c.backend_init_connections <= c.backend_idle_connections);
            assert!(c.max_request <= 2 << 30 && c.retry_timeout <= Duration::from_secs(3600));
            assert!(!c.connect_timeout.is_zero() && !c.reply_timeout.is_zero());
        }
        Ok(Invocation::Help(text) | Invocation::Version(text)) => assert!(!text.is_empty()),
    }
}
