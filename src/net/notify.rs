//! What systemd is told (`sd_notify`), where it asks for it: a datagram to the socket that `NOTIFY_SOCKET` names.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends `text`, lines of `NAME=value`. Nobody depends on its arrival but systemd.
pub fn send(text: &str) {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET") else { return };
    let sent = address(name.as_encoded_bytes())
        .and_then(|to| UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &to));
    if let Err(e) = sent {
        log::warn!("cannot notify {}: {e}", name.to_string_lossy());
    }
}

/// A path, or behind an `@` a name in Linux's abstract namespace.
fn address(name: &[u8]) -> io::Result<SocketAddr> {
    match name {
        #[cfg(target_os = "linux")]
        [b'@', rest @ ..] => <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(rest),
        path => SocketAddr::from_pathname(std::path::Path::new(&*String::from_utf8_lossy(path))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_names() {
        let path = address(b"/run/notify").unwrap();
        assert_eq!(path.as_pathname(), Some(std::path::Path::new("/run/notify")));
        #[cfg(target_os = "linux")]
        assert!(address(b"@abstract").unwrap().as_pathname().is_none());
    }
}
