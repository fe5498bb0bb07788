//! Host names to addresses, remembered for a while. Looking up may block for seconds, so only this thread does it.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use crate::base::time::Time;

/// How long an address is taken for granted.
const KEEP: Duration = Duration::from_secs(5);

/// Names remembered, at most; beyond that the old ones are forgotten.
const MAX_NAMES: usize = 4096;

/// Remembers addresses of host names.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    ip: IpAddr,
    fresh_until: Time,
}

impl Names {
    /// The address of `host`, which may be an address itself. Of several addresses of a name the one that was taken
    /// before stays, so that a name server that deals them out in turn does not make nodes jump; else the first.
    /// When a name cannot be looked up now, its last address is given.
    pub(super) fn resolve(&mut self, now: Time, host: &str, port: u16) -> Option<SocketAddr> {
        self.resolve_by(now, host, port, |host, port| look_up(host, port).unwrap_or_default())
    }

    /// Look these names up anew when they are next asked for: a node at `addr` was lost and may have moved.
    pub(super) fn doubt(&mut self, addr: SocketAddr) {
        for known in self.known.values_mut().filter(|k| k.ip == addr.ip()) {
            known.fresh_until = Time::default();
        }
    }

    fn resolve_by(
        &mut self,
        now: Time,
        host: &str,
        port: u16,
        look_up: impl FnOnce(&str, u16) -> Vec<SocketAddr>,
    ) -> Option<SocketAddr> {
        if let Ok(ip) = host.parse() {
            return Some(SocketAddr::new(ip, port));
        }
        let before = self.known.get(host).map(|k| (k.ip, k.fresh_until));
        if let Some((ip, _)) = before.filter(|(_, fresh_until)| now < *fresh_until) {
            return Some(SocketAddr::new(ip, port));
        }
        let found = look_up(host, port);
        let same = before.filter(|(ip, _)| found.is_empty() || found.iter().any(|a| a.ip() == *ip));
        let ip = same.map(|(ip, _)| ip).or_else(|| found.first().map(SocketAddr::ip))?;
        self.remember(now, host, ip);
        Some(SocketAddr::new(ip, port))
    }

    fn remember(&mut self, now: Time, host: &str, ip: IpAddr) {
        if self.known.len() >= MAX_NAMES && !self.known.contains_key(host) {
            self.known.clear();
        }
        self.known.insert(host.to_owned(), Known { ip, fresh_until: now.after(KEEP) });
    }
}

/// All addresses of a startup node, given as `host:port`, IPv6 with or without brackets.
pub(super) fn startup_addrs(node: &str) -> Result<Vec<SocketAddr>, String> {
    let (host, port) = node.rsplit_once(':').ok_or_else(|| format!("{node}: no port"))?;
    let port = port.parse().map_err(|_| format!("{node}: not a port"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    look_up(host, port).map_err(|e| format!("{node}: {e}"))
}

fn look_up(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_micros(seconds * 1_000_000)
    }

    fn addrs(last: &[u8]) -> Vec<SocketAddr> {
        last.iter().map(|b| SocketAddr::from(([10, 0, 0, *b], 1))).collect()
    }

    fn resolved(names: &mut Names, now: u64, found: &[u8]) -> Option<SocketAddr> {
        names.resolve_by(at(now), "redis", 1, |_, _| addrs(found))
    }

    #[test]
    fn addresses_are_not_looked_up() {
        let mut names = Names::default();
        let never = |_: &str, _| panic!("looked up");
        assert_eq!(names.resolve_by(at(0), "::1", 7, never), "[::1]:7".parse().ok());
        assert_eq!(names.resolve(at(0), "127.0.0.1", 7), "127.0.0.1:7".parse().ok());
    }

    #[test]
    fn a_name_is_looked_up_once_in_a_while() {
        let mut names = Names::default();
        assert_eq!(resolved(&mut names, 0, &[1]), Some(addrs(&[1])[0]));
        assert_eq!(resolved(&mut names, 4, &[2]), Some(addrs(&[1])[0]));
        assert_eq!(resolved(&mut names, 5, &[2]), Some(addrs(&[2])[0]));
    }

    #[test]
    fn an_address_that_is_still_offered_stays() {
        let mut names = Names::default();
        assert_eq!(resolved(&mut names, 0, &[1, 2, 3]), Some(addrs(&[1])[0]));
        assert_eq!(resolved(&mut names, 10, &[3, 2, 1]), Some(addrs(&[1])[0]));
        assert_eq!(resolved(&mut names, 20, &[3, 2]), Some(addrs(&[3])[0]));
    }

    #[test]
    fn a_name_server_that_fails_does_not_take_addresses_away() {
        let mut names = Names::default();
        assert_eq!(resolved(&mut names, 0, &[]), None);
        assert_eq!(resolved(&mut names, 0, &[1]), Some(addrs(&[1])[0]));
        assert_eq!(resolved(&mut names, 60, &[]), Some(addrs(&[1])[0]));
    }

    #[test]
    fn a_lost_node_is_looked_up_at_once() {
        let mut names = Names::default();
        resolved(&mut names, 0, &[1]);
        names.doubt(addrs(&[1])[0]);
        assert_eq!(resolved(&mut names, 1, &[2]), Some(addrs(&[2])[0]));
    }

    #[test]
    fn startup_nodes_in_all_spellings() {
        let v6: Vec<SocketAddr> = "[::1]:7001".parse().into_iter().collect();
        assert_eq!(startup_addrs("127.0.0.1:7001"), Ok(vec![SocketAddr::from(([127, 0, 0, 1], 7001))]));
        assert_eq!(startup_addrs("[::1]:7001"), Ok(v6.clone()));
        assert_eq!(startup_addrs("::1:7001"), Ok(v6));
        assert!(startup_addrs("localhost:7001").is_ok_and(|a| a.iter().all(|a| a.ip().is_loopback())));
        assert!(startup_addrs("localhost").is_err());
        assert!(startup_addrs("localhost:x").is_err());
    }
}
