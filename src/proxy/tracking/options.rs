//! The arguments of CLIENT TRACKING and what a server says of those that do not fit. Pure.

use crate::base::sort;
use crate::proxy::errors::say;
use crate::proxy::session::{number, NOT_AN_INTEGER, SYNTAX};
use crate::resp::Args;

/// Prefixes of one client: each key that changes is compared with all of them.
const MOST_PREFIXES: usize = 1024;

/// How a client wants its reads tracked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Whether tracking is to begin or to end; anything else is an error once the rest is in order.
    pub on: Option<bool>,
    /// The client that is told in place of this one, by its id.
    pub redirect: Option<i64>,
    /// BCAST: it is told of all keys with one of `prefixes`, not of those that it has read.
    pub broadcast: bool,
    /// Reads count only behind CLIENT CACHING YES.
    pub opt_in: bool,
    /// Reads behind CLIENT CACHING NO do not count.
    pub opt_out: bool,
    /// NOLOOP.
    pub no_loop: bool,
    /// In order; none begins another one.
    pub prefixes: Vec<Vec<u8>>,
}

impl Options {
    /// What stands behind `CLIENT TRACKING`.
    ///
    /// # Errors
    /// The text of a server's error.
    pub fn read(args: &Args<'_>) -> Result<Options, Vec<u8>> {
        let word = args.get(2).unwrap_or_default();
        let on = match () {
            () if word.eq_ignore_ascii_case(b"on") => Some(true),
            () if word.eq_ignore_ascii_case(b"off") => Some(false),
            () => None,
        };
        let mut options = Options { on, ..Options::default() };
        let mut rest = args.iter().skip(3);
        while let Some(word) = rest.next() {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            if is(b"bcast") {
                options.broadcast = true;
            } else if is(b"optin") {
                options.opt_in = true;
            } else if is(b"optout") {
                options.opt_out = true;
            } else if is(b"noloop") {
                options.no_loop = true;
            } else if is(b"prefix") {
                options.prefixes.push(rest.next().ok_or(SYNTAX)?.to_vec());
            } else if is(b"redirect") {
                let id = rest.next().ok_or(SYNTAX)?;
                if options.redirect.is_some() {
                    return Err(b"ERR A client can only redirect to a single other client".to_vec());
                }
                options.redirect = Some(number(id).ok_or(NOT_AN_INTEGER)?);
            } else {
                return Err(SYNTAX.to_vec());
            }
        }
        Ok(options)
    }

    /// What a client has that had `old` and asks for these, in a server's order of questions.
    ///
    /// # Errors
    /// The text of a server's error.
    pub fn joined(mut self, old: Option<&Options>) -> Result<Options, Vec<u8>> {
        let text: &[u8] = if self.on.is_none() {
            SYNTAX
        } else if !self.broadcast && !self.prefixes.is_empty() {
            b"ERR PREFIX option requires BCAST mode to be enabled"
        } else if old.is_some_and(|o| o.broadcast != self.broadcast) {
            b"ERR You can't switch BCAST mode on/off before disabling tracking for this client, \
and then re-enabling it with a different mode."
        } else if self.broadcast && (self.opt_in || self.opt_out) {
            b"ERR OPTIN and OPTOUT are not compatible with BCAST"
        } else if self.opt_in && self.opt_out {
            b"ERR You can't specify both OPTIN mode and OPTOUT mode"
        } else if old.is_some_and(|o| (self.opt_in && o.opt_out) || (self.opt_out && o.opt_in)) {
            b"ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, \
and then re-enabling it with a different mode."
        } else {
            b""
        };
        if !text.is_empty() {
            return Err(text.to_vec());
        }
        if self.broadcast {
            self.join_prefixes(old.map(|o| o.prefixes.as_slice()).unwrap_or_default())?;
        }
        Ok(self)
    }

    /// The prefixes of before stay; none at all means all keys.
    fn join_prefixes(&mut self, old: &[Vec<u8>]) -> Result<(), Vec<u8>> {
        if self.prefixes.len() + old.len() > MOST_PREFIXES {
            let mut text = Vec::new();
            say(
                &mut text,
                format_args!("ERR a client can have {MOST_PREFIXES} prefixes at most through the proxy"),
            );
            return Err(text);
        }
        for (at, prefix) in self.prefixes.iter().enumerate() {
            let overlaps = |other: &&Vec<u8>| other.starts_with(prefix) || prefix.starts_with(other);
            if let Some(other) = old.iter().find(overlaps) {
                return Err(overlap(prefix, "an existing prefix", other));
            }
            if let Some(other) = self.prefixes[at + 1..].iter().find(overlaps) {
                return Err(overlap(prefix, "another provided prefix", other));
            }
        }
        if self.prefixes.is_empty() && !old.iter().any(Vec::is_empty) {
            self.prefixes.push(Vec::new());
        }
        self.prefixes.extend_from_slice(old);
        sort::by(&mut self.prefixes, Ord::cmp);
        Ok(())
    }
}

fn overlap(prefix: &[u8], with: &str, other: &[u8]) -> Vec<u8> {
    let (prefix, other) = (String::from_utf8_lossy(prefix), String::from_utf8_lossy(other));
    let mut text = Vec::new();
    say(
        &mut text,
        format_args!(
            "ERR Prefix '{prefix}' overlaps with {with} '{other}'. Prefixes for a single client must not overlap."
        ),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broadcast(prefixes: &[&str]) -> Options {
        let prefixes = prefixes.iter().map(|p| p.as_bytes().to_vec()).collect();
        Options { on: Some(true), broadcast: true, prefixes, ..Options::default() }
    }

    #[test]
    fn prefixes_are_added_to_those_of_before_in_order() {
        let first = broadcast(&["foo", "bar"]).joined(None).unwrap();
        let second = broadcast(&["baz"]).joined(Some(&first)).unwrap();
        assert_eq!(second.prefixes, [&b"bar"[..], b"baz", b"foo"]);
        // As a server has it, no prefix at all overlaps with none.
        let all = broadcast(&[]).joined(Some(&second)).unwrap();
        assert_eq!(all.prefixes[0], b"");
        assert_eq!(broadcast(&[]).joined(Some(&all)).unwrap().prefixes, all.prefixes);
        assert!(broadcast(&["x"]).joined(Some(&all)).is_err());
    }

    #[test]
    fn prefixes_do_not_grow_without_bound() {
        let names: Vec<String> = (0..MOST_PREFIXES).map(|i| format!("{i:05}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let all = broadcast(&names).joined(None).unwrap();
        let error = broadcast(&["x"]).joined(Some(&all)).unwrap_err();
        assert!(error.ends_with(b"1024 prefixes at most through the proxy"));
    }
}
