//! Commands that wait for another client: BLPOP and its kin, XREAD and XREADGROUP with BLOCK.
//!
//! Each waits on a dedicated backend; the client is not read meanwhile, as a server does not either. When the node loses
//! the slot or is lost, the command is sent again with the time that is left.

use std::time::Duration;

use super::client::Client;
use super::dispatch::Step;
use super::engine::{Alarm, Engine};
use super::errors;
use super::lease::Lease;
use super::part::{Owner, Part};
use crate::base::arena::Key;
use crate::command::{self, Command, Keys};
use crate::resp::{encode, Args, Limits, Parsed, RequestParser};

/// How long a blocking command may take whose client sends nothing more.
const LAST_CHANCE: Duration = Duration::from_millis(200);
/// How often its node is told to end the waiting meanwhile: it may not have got the command before it was told.
const TOLD_EVERY: Duration = Duration::from_millis(20);

/// How long a command waits, and where it says so.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Timeout {
    /// Index of the argument.
    argument: usize,
    /// It is in milliseconds, not in seconds.
    millis: bool,
    /// Zero means for ever.
    wait: Duration,
}

impl Engine {
    /// A command that may wait.
    pub(super) fn block(&mut self, key: Key<Client>, row: &'static Command, args: &Args<'_>) -> Step {
        // What the client sent before must be executed before.
        if self.must_wait(key) {
            return Step::Wait;
        }
        let slot = match command::slot_of(row, args) {
            Ok(Some(slot)) => slot,
            Ok(None) => return self.whole(key, row, args),
            Err(error) => return self.key_error(key, row, args, error),
        };
        // What is no timeout here may be one for the server (`0x1`), so it never goes to a shared backend.
        let wait = timeout_of(row, args).map(|t| t.wait).filter(|w| !w.is_zero());
        let until = wait.map(|w| self.now.after(w));
        // A watching client waits where it watches.
        if !self.lease_to_block(key, slot, until) {
            return self.refuse(key, |out| out.extend_from_slice(errors::BLOCKS_ELSEWHERE));
        }
        self.send_dedicated(key, row, slot, args.frame())
    }

    /// A blocked part whose node has let go of it: its request with the time that is left, or `None` after it was
    /// answered because there is none left.
    pub(super) fn reissue(&mut self, part: &mut Part, request: &[u8]) -> Option<Vec<u8>> {
        let Owner::Client(client, _) = part.owner else { return Some(request.to_vec()) };
        let until = self.clients.get(client).and_then(|c| c.lease.as_deref()).and_then(Lease::blocked_until);
        if self
            .clients
            .get_mut(client)
            .and_then(|c| c.lease.as_deref_mut())
            .is_some_and(Lease::watch_elsewhere)
        {
            self.discard_leased(client);
        }
        self.unlease(client);
        let Some(until) = until else { return Some(request.to_vec()) };
        part.born_us = self.now_us();
        let row = command::by_id(part.command);
        match until {
            None => Some(request.to_vec()),
            Some(t) if t > self.now => Some(with_timeout(row, request, t.since(self.now))),
            Some(_) => {
                let protocol = self.clients.get(client).map(Client::protocol).unwrap_or_default();
                let mut out = Vec::new();
                // Of all of them, those that return one element too (Redis 7.0.15).
                encode::null_array(&mut out, protocol);
                self.answer(part, &out);
                None
            }
        }
    }

    /// A blocked part that was parked: as [`Engine::reissue`], but it is not younger for that.
    pub(super) fn reissue_parked(&mut self, part: &mut Part, request: &[u8]) -> Option<Vec<u8>> {
        let born_us = part.born_us;
        let request = self.reissue(part, request);
        part.born_us = born_us;
        request
    }

    /// A blocking command was answered by the proxy: its client blocks no more.
    pub(super) fn end_block(&mut self, part: &Part) {
        if let Owner::Client(client, _) = part.owner {
            self.end_blocking(client);
        }
    }

    /// The client will send nothing more. While it is blocked it waits for nothing any more, as with a server: it may be gone,
    /// and what is popped for it would be lost. One that said so right behind its command still gets what is there already.
    pub fn client_hung_up(&mut self, key: Key<Client>) {
        let Some(c) = self.clients.get(key) else { return };
        if c.lease.as_deref().is_none_or(|l| l.blocked_until().is_none()) {
            return;
        }
        let due = c.heard.after(LAST_CHANCE);
        if due <= self.now {
            return self.close_client(key);
        }
        // Only the node knows whether it has popped something by now.
        self.unblock_at_node(key, true);
        self.timers.set(due.min(self.now.after(TOLD_EVERY)), Alarm::HungUp(key));
    }
}

/// The timeout of a blocking command; `None` when there is no valid one.
fn timeout_of(row: &Command, args: &Args<'_>) -> Option<Timeout> {
    let (argument, millis) = match (row.keys, row.name) {
        (Keys::Streams, _) => (command::block_argument(row, args)?, true),
        (_, "blmpop" | "bzmpop") => (1, false),
        _ => (args.len() - 1, false),
    };
    let text = args.get(argument)?;
    let wait = match millis {
        true => Duration::from_millis(std::str::from_utf8(text).ok()?.parse().ok()?),
        false => seconds(text)?,
    };
    Some(Timeout { argument, millis, wait })
}

/// The time that a decimal number of seconds means, with or without a fraction and an exponent; `None` for anything else,
/// and for what is more than 584 years. Less than a nanosecond is nothing.
fn seconds(text: &[u8]) -> Option<Duration> {
    let is_exponent = |b: &u8| b.eq_ignore_ascii_case(&b'e');
    let (number, exponent) = match text.iter().position(is_exponent) {
        Some(e) => (&text[..e], std::str::from_utf8(&text[e + 1..]).ok()?.parse::<i16>().ok()?),
        None => (text, 0),
    };
    let (mut nanos, mut shift, mut digits, mut behind_point) = (0u64, 9 + i32::from(exponent), 0, false);
    for byte in number.strip_prefix(b"+").unwrap_or(number) {
        match byte {
            b'.' if !behind_point => behind_point = true,
            b'0'..=b'9' => {
                digits += 1;
                if nanos < u64::MAX / 10 {
                    nanos = nanos * 10 + u64::from(byte - b'0');
                    shift -= i32::from(behind_point);
                } else {
                    shift += i32::from(!behind_point);
                }
            }
            _ => return None,
        }
    }
    if digits == 0 {
        return None;
    }
    let unit = 10u64.checked_pow(shift.unsigned_abs());
    let nanos = match (shift >= 0, unit) {
        (true, Some(unit)) => nanos.checked_mul(unit)?,
        (true, None) if nanos > 0 => return None,
        (false, Some(unit)) => nanos / unit,
        _ => 0,
    };
    Some(Duration::from_nanos(nanos))
}

/// `request` with another timeout.
fn with_timeout(row: &Command, request: &[u8], left: Duration) -> Vec<u8> {
    let mut parser = RequestParser::new();
    let limits = Limits { max_request: usize::MAX, ..Limits::default() };
    let Parsed::Request { .. } = parser.parse(request, &limits) else { return request.to_vec() };
    let args = Args::new(request, parser.spans());
    let Some(timeout) = timeout_of(row, &args) else { return request.to_vec() };
    // Never a moment too early, and zero would mean for ever.
    let millis = left.as_micros().div_ceil(1000).max(1);
    let text = match timeout.millis {
        true => millis.to_string(),
        false => format!("{}.{:03}", millis / 1000, millis % 1000),
    };
    let words: Vec<&[u8]> = args
        .iter()
        .enumerate()
        .map(|(i, word)| if i == timeout.argument { text.as_bytes() } else { word })
        .collect();
    let mut out = Vec::new();
    encode::request(&mut out, &words);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_seconds_is_read_as_a_server_reads_it() {
        let times = [
            ("0", 0),
            ("1", 1_000_000_000),
            ("+1.5", 1_500_000_000),
            (".25", 250_000_000),
            ("3.", 3_000_000_000),
            ("0.0000000019", 1),
            ("1e-05", 10_000),
            ("2.5E1", 25_000_000_000),
            ("0.1000000000000000055511151231257827", 100_000_000),
            ("0e999", 0),
            ("1e-999", 0),
        ];
        for (text, nanos) in times {
            assert_eq!(seconds(text.as_bytes()), Some(Duration::from_nanos(nanos)), "{text}");
        }
        for text in
            ["", ".", "+", "-1", "x", "1x", "1.2.3", "0x1", "e1", "1e", "1e99999", "inf", "nan", "1e30"]
        {
            assert_eq!(seconds(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_command_that_is_sent_again_does_not_end_too_early() {
        let mut request = Vec::new();
        encode::request(&mut request, &["BLPOP", "k", "2"]);
        let row = command::lookup(b"blpop").expect("a row");
        for (left_us, text) in [(339_001, "0.340"), (2_000_000, "2.000"), (1, "0.001")] {
            let again = with_timeout(row, &request, Duration::from_micros(left_us));
            let mut expected = Vec::new();
            encode::request(&mut expected, &["BLPOP", "k", text]);
            assert_eq!(again, expected);
        }
    }
}
