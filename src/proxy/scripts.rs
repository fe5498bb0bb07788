//! Scripts that this worker has seen, and where it has loaded them.
//!
//! A client that has loaded a script, or run it with EVAL, expects every later EVALSHA to find it. A cluster's nodes know
//! only what they were told themselves, and a new primary knows nothing. So before the first EVALSHA of a known script on
//! a backend goes a SCRIPT LOAD, on the same connection: the order of the client's commands stays as it is. A node that
//! answers NOSCRIPT all the same (somebody flushed its scripts) is asked once more, but only while the client has sent
//! nothing behind the call that could be overtaken.

use std::collections::{HashMap, VecDeque};

use super::across::Question;
use super::backend::Backend;
use super::client::Client;
use super::engine::Engine;
use super::part::{Owner, Part, NO_SLOT};
use crate::base::arena::Key;
use crate::base::sha1::{sha1, Sha1};
use crate::command::{self, Command};
use crate::resp::{self, encode, Args};

/// What servers call a script by: the SHA-1 of its text.
pub type ScriptName = Sha1;

/// Scripts remembered, and bytes of their texts together.
const MOST_SCRIPTS: usize = 1000;
const MOST_BYTES: usize = 4 << 20;

/// How often a call that found no script is sent again.
const MOST_ATTEMPTS: u8 = 5;

/// What a node answers that does not know a script; Redis goes on with advice, Valkey does not.
const NO_SCRIPT: &[u8] = b"-NOSCRIPT No matching script.";

/// What a node answers to a text that is no script.
const NO_LUA: &[u8] = b"-ERR Error compiling script";

/// The scripts of one worker.
#[derive(Debug, Default)]
pub struct Scripts {
    known: HashMap<ScriptName, Script>,
    /// All known scripts, the one to be forgotten next first.
    queue: VecDeque<ScriptName>,
    /// Bytes of all texts.
    bytes: usize,
}

#[derive(Debug)]
struct Script {
    text: Box<[u8]>,
    /// Used since it came to the front of the queue last.
    used: bool,
    /// Backends on which it was loaded; some may be gone.
    loaded: Vec<Key<Backend>>,
}

impl Scripts {
    /// Remembers a script, and returns its name; `None` for one that is too long.
    pub fn remember(&mut self, text: &[u8]) -> Option<ScriptName> {
        self.add(text).map(|(name, _)| name)
    }

    /// As [`Scripts::remember`], and whether the script was not known before.
    fn add(&mut self, text: &[u8]) -> Option<(ScriptName, bool)> {
        if text.len() > MOST_BYTES / 4 {
            return None;
        }
        let name = sha1(text);
        if let Some(script) = self.known.get_mut(&name) {
            script.used = true;
            return Some((name, false));
        }
        self.bytes += text.len();
        self.known.insert(name, Script { text: text.into(), used: false, loaded: Vec::new() });
        while self.known.len() > MOST_SCRIPTS || self.bytes > MOST_BYTES {
            self.forget_oldest();
        }
        self.queue.push_back(name);
        Some((name, true))
    }

    /// Whether the script is known.
    pub fn knows(&self, name: &ScriptName) -> bool {
        self.known.contains_key(name)
    }

    /// Forgets a script.
    pub fn forget(&mut self, name: &ScriptName) {
        if let Some(script) = self.known.remove(name) {
            self.bytes -= script.text.len();
            self.queue.retain(|n| n != name);
        }
    }

    /// Forgets all scripts.
    pub fn clear(&mut self) {
        *self = Scripts::default();
    }

    /// Whether a part may call a known script by its name.
    #[inline]
    pub fn may_be_called_by(&self, part: &Part) -> bool {
        !self.known.is_empty() && (part.block || is_call(part))
    }

    /// The second-chance algorithm: a script that was used goes to the end of the queue once.
    fn forget_oldest(&mut self) {
        while let Some(name) = self.queue.pop_front() {
            match self.known.get_mut(&name) {
                Some(script) if script.used => {
                    script.used = false;
                    self.queue.push_back(name);
                }
                _ => {
                    self.bytes -= self.known.remove(&name).map_or(0, |s| s.text.len());
                    return;
                }
            }
        }
    }
}

impl Engine {
    /// A command with a counted number of keys was routed: EVAL brings a script that may be called by its name later.
    pub(super) fn note_script(&mut self, command: &'static Command, args: &Args<'_>) {
        if let (true, Some(text)) = (is_eval(command) && counts_keys(args.get(2), args.len()), args.get(1)) {
            self.note_text(text);
        }
    }

    /// The same of all commands of a transaction that is about to be executed.
    pub(super) fn note_scripts(&mut self, key: Key<Client>) {
        let multi = self.clients.get(key).and_then(|c| c.multi.as_deref());
        let Some(multi) = multi.filter(|m| m.evaluates()) else { return };
        let mut texts: Vec<Box<[u8]>> = Vec::new();
        let mut rest = multi.bytes();
        while let Some((request, behind)) = resp::frame_len(rest).and_then(|n| rest.split_at_checked(n)) {
            let word = argument(request, 0).unwrap_or_default();
            let is_eval = word.eq_ignore_ascii_case(b"EVAL") || word.eq_ignore_ascii_case(b"EVAL_RO");
            let argc = resp::children(request).map_or(0, Iterator::count);
            if is_eval && counts_keys(argument(request, 2), argc) {
                texts.extend(argument(request, 1).map(Box::from));
            }
            rest = behind;
        }
        texts.iter().for_each(|text| self.note_text(text));
    }

    fn note_text(&mut self, text: &[u8]) {
        if self.scripts.add(text).is_some_and(|(_, is_new)| is_new) {
            // The client that calls it by its name may be another worker's.
            self.tell(Question::RememberScript(text.into()));
        }
    }

    /// Before a request, or a block of them, goes to a backend: loads the known scripts that it calls and that were not
    /// loaded there.
    pub(super) fn load_scripts(&mut self, backend: Key<Backend>, part: &Part, requests: &[u8]) {
        let mut rest = requests;
        while let Some((request, behind)) = resp::frame_len(rest).and_then(|n| rest.split_at_checked(n)) {
            if let Some(name) = called(request) {
                self.load_script(backend, part, name);
            }
            rest = behind;
        }
    }

    fn load_script(&mut self, backend: Key<Backend>, part: &Part, name: ScriptName) {
        let Some(script) = self.scripts.known.get_mut(&name) else { return };
        script.used = true;
        if script.loaded.contains(&backend) {
            return;
        }
        script.loaded.retain(|b| self.backends.get(*b).is_some());
        script.loaded.push(backend);
        let mut load = Vec::with_capacity(script.text.len() + 64);
        encode::request(&mut load, &[&b"SCRIPT"[..], b"LOAD", &script.text]);
        let swallowed = Part { owner: Owner::Nobody, slot: NO_SLOT, attempts: 0, block: false, ..*part };
        self.push(backend, swallowed, &load);
    }

    /// Looks at an error that a node gave a request. True when the request shall be sent once more.
    pub(super) fn script_error(
        &mut self,
        backend: Key<Backend>,
        part: &Part,
        request: &[u8],
        error: &[u8],
    ) -> bool {
        if error.starts_with(NO_LUA) {
            if let ("eval" | "eval_ro", Some(text)) =
                (command::by_id(part.command).name, argument(request, 1))
            {
                self.scripts.forget(&sha1(text));
            }
            return false;
        }
        let Some(script) = called(request).and_then(|n| self.scripts.known.get_mut(&n)) else { return false };
        script.loaded.retain(|b| *b != backend);
        part.attempts < MOST_ATTEMPTS && self.is_newest(part)
    }

    /// Whether the client has sent nothing behind this request.
    fn is_newest(&self, part: &Part) -> bool {
        let Owner::Client(client, sequence) = part.owner else { return false };
        let active = self.clients.get(client).and_then(|c| c.active.as_deref());
        active.is_some_and(|a| a.order.is_newest(sequence))
    }
}

/// Whether an error may be one that [`Engine::script_error`] wants to see.
pub fn is_script_error(error: &[u8]) -> bool {
    error.starts_with(NO_SCRIPT) || error.starts_with(NO_LUA)
}

/// The name of a script as a client writes it: 40 hexadecimal digits in any case.
pub fn script_name(text: &[u8]) -> Option<ScriptName> {
    let mut name = ScriptName::default();
    if text.len() != 2 * name.len() {
        return None;
    }
    let digit = |b: u8| char::from(b).to_digit(16);
    for (byte, pair) in name.iter_mut().zip(text.chunks_exact(2)) {
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(name)
}

/// Whether a command brings its script with it.
pub fn is_eval(command: &Command) -> bool {
    matches!(command.name, "eval" | "eval_ro")
}

/// Whether a server reads the script of an EVAL of `argc` arguments: it looks at the number of keys first.
fn counts_keys(number: Option<&[u8]>, argc: usize) -> bool {
    let plain = number.filter(|n| *n == b"0" || matches!(n.first(), Some(b'1'..=b'9')));
    let number = plain.and_then(|n| std::str::from_utf8(n).ok()?.parse::<usize>().ok());
    number.is_some_and(|n| n <= argc.saturating_sub(3))
}

/// Whether a part is one request that runs a script for a client.
pub fn is_single_call(part: &Part) -> bool {
    matches!(part.owner, Owner::Client(..)) && !part.block && !part.kind.dedicated
}

fn is_call(part: &Part) -> bool {
    matches!(command::by_id(part.command).name, "evalsha" | "evalsha_ro")
}

/// The script that a request calls by its name.
fn called(request: &[u8]) -> Option<ScriptName> {
    let is_call =
        |word: &[u8]| word.eq_ignore_ascii_case(b"EVALSHA") || word.eq_ignore_ascii_case(b"EVALSHA_RO");
    argument(request, 0).filter(|word| is_call(word))?;
    script_name(argument(request, 1)?)
}

/// An argument of a request.
fn argument(request: &[u8], i: usize) -> Option<&[u8]> {
    let bulk = resp::children(request).ok()?.nth(i)?.strip_suffix(b"\r\n")?;
    bulk.get(memchr::memchr(b'\n', bulk)? + 1..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hexadecimal_in_any_case() {
        let name = sha1(b"return 1");
        let text: String = name.iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(script_name(text.as_bytes()), Some(name));
        assert_eq!(script_name(text.to_uppercase().as_bytes()), Some(name));
        assert_eq!(script_name(&text.as_bytes()[1..]), None);
        assert_eq!(script_name(text.replace('e', "g").as_bytes()), None);
    }

    #[test]
    fn the_name_is_found_in_a_request() {
        let name = "e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        let mut request = Vec::new();
        encode::request(&mut request, &["EVALSHA", name, "0"]);
        assert_eq!(called(&request), Some(sha1(b"return 1")));
        assert_eq!(called(b"*1\r\n$7\r\nEVALSHA\r\n"), None);
    }

    #[test]
    fn a_script_is_read_only_behind_a_right_number_of_keys() {
        let counts = |number: &str, argc| counts_keys(Some(number.as_bytes()), argc);
        assert!(counts("0", 3) && counts("2", 5) && counts("10", 13));
        assert!(!counts("1", 3) && !counts("18446744073709551616", 4));
        assert!(["-1", "+1", "01", "1.5", " 1", "1 ", "x", ""].iter().all(|n| !counts(n, 9)));
        assert!(!counts_keys(None, 2));
    }

    #[test]
    fn memory_of_scripts_is_bounded_and_the_used_ones_stay() {
        let mut scripts = Scripts::default();
        let kept = scripts.remember(b"kept").unwrap();
        for i in 0..10 * MOST_SCRIPTS {
            scripts.remember(format!("return {i}").as_bytes());
            scripts.remember(b"kept");
        }
        assert!(scripts.knows(&kept));
        assert_eq!((scripts.known.len(), scripts.queue.len()), (MOST_SCRIPTS, MOST_SCRIPTS));
        for i in 0..100 {
            scripts.remember(&vec![i; MOST_BYTES / 10]);
        }
        assert!(scripts.bytes <= MOST_BYTES);
        assert_eq!(scripts.bytes, scripts.known.values().map(|s| s.text.len()).sum());
        assert_eq!(scripts.remember(&vec![0; MOST_BYTES]), None);
    }

    #[test]
    fn a_forgotten_script_leaves_nothing() {
        let mut scripts = Scripts::default();
        let name = scripts.remember(b"return 1").unwrap();
        scripts.forget(&name);
        assert!(!scripts.knows(&name));
        assert_eq!((scripts.bytes, scripts.queue.len()), (0, 0));
    }
}
