//! The same bytes to the proxy and to a standalone server: what comes back must be the same bytes.

use super::frame::show;
use super::raw::RawClient;

/// A connection to each.
#[derive(Debug)]
pub struct Pair {
    /// To the proxy.
    pub proxy: RawClient,
    /// To the standalone server.
    pub server: RawClient,
}

impl Pair {
    /// Connects to both ports.
    pub fn connect(proxy_port: u16, server_port: u16) -> Pair {
        Pair { proxy: RawClient::connect(proxy_port), server: RawClient::connect(server_port) }
    }

    /// Sends `bytes` to both and compares one reply; returns it.
    pub fn same_reply(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.send(bytes);
        self.same_frames(bytes, 1).remove(0)
    }

    /// Sends a command to both and compares one reply; returns it.
    pub fn same(&mut self, args: &[impl AsRef<[u8]>]) -> Vec<u8> {
        self.same_reply(&super::frame::request(args))
    }

    /// As [`Pair::same`], words separated by blanks.
    pub fn same_line(&mut self, words: &str) -> Vec<u8> {
        self.same(&words.split(' ').collect::<Vec<_>>())
    }

    /// Sends `bytes` to both, then PING, and compares all that comes up to the answer to the PING: so it shows that
    /// the bytes had exactly these replies and that the connection lives on.
    pub fn same_and_alive(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.send(bytes);
        self.send(b"*2\r\n$4\r\nPING\r\n$8\r\nthe end.\r\n");
        let expected = until_end(&mut self.server);
        let got = until_end(&mut self.proxy);
        assert_same(bytes, &got, &expected);
        got
    }

    /// Sends `bytes` to both and compares all that comes up to the close, which must come from both.
    pub fn same_and_closed(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.send(bytes);
        let expected = self.server.until_closed();
        let got = self.proxy.until_closed();
        assert_same(bytes, &got, &expected);
        got
    }

    fn send(&mut self, bytes: &[u8]) {
        self.server.send(bytes);
        self.proxy.send(bytes);
    }

    fn same_frames(&mut self, bytes: &[u8], n: usize) -> Vec<Vec<u8>> {
        let expected = self.server.frames(n);
        let got = self.proxy.frames(n);
        assert_same(bytes, &got.concat(), &expected.concat());
        got
    }
}

fn until_end(client: &mut RawClient) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let frame = client.frame();
        let is_end = frame == b"$8\r\nthe end.\r\n";
        all.extend_from_slice(&frame);
        if is_end {
            return all;
        }
    }
}

#[track_caller]
fn assert_same(sent: &[u8], got: &[u8], expected: &[u8]) {
    assert!(got == expected, "sent   {}\nserver {}\nproxy  {}", show(sent), show(expected), show(got));
}
