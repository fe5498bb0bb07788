//! One request at a time to one third of the slots: how long it waits, and when writes succeed again after a fault.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use super::line::now_us;
use super::testimony::{Kind, Lost, Testimony, Wait};
use super::Board;
use crate::support::frame::{self, show};
use crate::support::keys::tag_where;
use crate::support::wait::let_pass;

pub fn key(third: usize) -> String {
    format!("{{{}}}witness:probe", tag_where(|slot| usize::from(slot) / 5462 == third))
}

pub(super) fn run(board: &Arc<Board>, third: usize) -> Testimony {
    let mut line = board.connect(format!("probe {third}"));
    let key = key(third);
    let (mut number, mut acknowledged) = (0u64, 0u64);
    let mut work = || -> io::Result<()> {
        while line.goes_on() {
            number += 1;
            let value = format!("{key}={number};");
            let sent = now_us();
            let reply = line.ask(&["SET", &key, &value])?;
            let fault = board.fault_us.load(Ordering::Relaxed);
            if reply == b"+OK\r\n" {
                acknowledged = number;
                // The one that was sent just before the fault may have been answered in time.
                if sent > fault || now_us() > fault.saturating_add(300_000) {
                    let first = &board.first_write[third];
                    let _ = first.compare_exchange(0, now_us(), Ordering::SeqCst, Ordering::SeqCst);
                }
            } else if !frame::is_error(&reply) {
                line.wrong(format!("SET answered {}", show(&reply)));
            }
            let reply = line.ask(&["GET", &key])?;
            let found = frame::text(&reply)
                .strip_prefix(&format!("{key}="))
                .and_then(|v| v.strip_suffix(';'))
                .and_then(|n| n.parse::<u64>().ok());
            match found {
                _ if frame::is_error(&reply) => {}
                Some(n) if (acknowledged..=number).contains(&n) => {}
                Some(n) if n < acknowledged => {
                    line.seen.stale.push(format!("{key} is number {n}, acknowledged was {acknowledged}"));
                    let lost = (n + 1..=acknowledged).map(|number| Lost {
                        key: key.clone(),
                        number,
                        kind: Kind::Value,
                    });
                    line.seen.lost.extend(lost);
                    acknowledged = n;
                }
                None if reply == b"$-1\r\n" && acknowledged == 0 => {}
                _ => line.wrong(format!("{key} is {}", show(&reply))),
            }
            let_pass(Duration::from_millis(1));
        }
        Ok(())
    };
    let ended = work();
    let longest = std::mem::take(&mut line.seen.longest);
    line.seen.probes[third] = Wait { us: longest.us, what: longest.what };
    line.end(ended)
}
