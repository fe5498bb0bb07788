//! Key positions of hand-picked requests. Far more of them are compared with a live server in `tests/command_table`.

use super::*;
use crate::command::resolve;
use crate::resp::Span;
use proptest::prelude::*;

fn with_args<T>(words: &[&str], f: impl FnOnce(&Args<'_>) -> T) -> T {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for word in words {
        let start = bytes.len() as u32;
        bytes.extend_from_slice(word.as_bytes());
        spans.push(Span { start, end: bytes.len() as u32 });
    }
    f(&Args::new(&bytes, &spans))
}

fn ask<T>(line: &str, f: impl FnOnce(&Command, &Args<'_>) -> T) -> T {
    let words: Vec<&str> = line.split(' ').collect();
    with_args(&words, |args| f(resolve(args).unwrap(), args))
}

fn positions(line: &str) -> Result<Vec<usize>, KeyError> {
    ask(line, |command, args| keys(command, args).map(Iterator::collect))
}

fn found(line: &str, expected: &[usize]) {
    assert_eq!(positions(line), Ok(expected.to_vec()), "{line}");
}

fn unroutable(line: &str) {
    assert_eq!(positions(line), Err(KeyError::Unroutable), "{line}");
}

#[test]
fn ranges() {
    found("GET k", &[1]);
    found("MGET a b a", &[1, 2, 3]);
    found("MSET a 1 b 2", &[1, 3]);
    found("BLPOP a b 0", &[1, 2]);
    found("BITOP AND d a b", &[2, 3, 4]);
    found("OBJECT ENCODING k", &[2]);
    found("PING", &[]);
}

#[test]
fn too_few_arguments_have_fewer_keys() {
    found("GET", &[]);
    found("MGET", &[]);
    found("BLPOP", &[]);
    found("BLPOP a", &[]);
    found("RENAME a", &[1]);
    found("BITOP AND", &[]);
    found("SORT", &[]);
    found("GEORADIUS", &[]);
    found("VCARD", &[]);
    for line in ["EVAL", "EVAL s", "ZUNIONSTORE d", "XREAD", "XREADGROUP", "MIGRATE", "LMPOP"] {
        unroutable(line);
    }
}

#[test]
fn counts() {
    found("EVAL s 0", &[]);
    found("EVAL s 2 a b c", &[3, 4]);
    found("ZUNIONSTORE d 2 a b WEIGHTS 1 2", &[1, 3, 4]);
    found("ZUNIONSTORE d 0 a", &[1]);
    found("LMPOP 1 a LEFT", &[2]);
    found("BZMPOP 0 2 a b MIN", &[3, 4]);
    found("MSETEX 2 a 1 b 2 EX 10", &[2, 4]);
    found("MSETEX 2 a 1 b 2", &[2, 4]);
    unroutable("MSETEX 2 a 1 b");
    for count in ["abc", "-1", "3", "", "4294967296", "18446744073709551617"] {
        unroutable(&format!("EVAL s {count} a b"));
    }
}

#[test]
fn streams() {
    found("XREAD STREAMS a b 0 0", &[2, 3]);
    found("XREAD COUNT 2 BLOCK 0 streams a $", &[6]);
    found("XREAD BLOCK STREAMS STREAMS a $", &[4]);
    found("XREADGROUP GROUP STREAMS STREAMS STREAMS a >", &[5]);
    found("XREADGROUP COUNT 1 GROUP STREAMS c NOACK STREAMS a >", &[8]);
    found("XREADGROUP GROUP g c CLAIM 5 STREAMS a >", &[7]);
    unroutable("XREAD STREAMS a b 0");
    unroutable("XREAD COUNT 1 STREAMS");
    unroutable("XREAD COUNT 1 a 0");
    unroutable("XREAD COUNT STREAMS a");
}

#[test]
fn only_the_option_block_blocks() {
    for line in
        ["BLPOP a 0", "BZMPOP 0 1 a MIN", "XREAD BLOCK 0 STREAMS a 0", "XREAD COUNT 1 block 5 STREAMS a 0"]
    {
        assert!(ask(line, blocks), "{line}");
    }
    for line in [
        "XREAD STREAMS BLOCK 0",
        "XREAD COUNT BLOCK STREAMS a 0",
        "XREAD BLOCKS 0 STREAMS a 0",
        "XREADGROUP GROUP BLOCK c STREAMS a >",
        "XREADGROUP GROUP g BLOCK STREAMS a >",
        "LPOP a",
        "WAIT 1 0",
    ] {
        assert!(!ask(line, blocks), "{line}");
    }
}

#[test]
fn stores() {
    found("SORT k BY w GET STORE", &[1]);
    found("SORT k STORE a STORE b", &[1, 5]);
    found("SORT k STORE", &[1]);
    found("GEORADIUS k 1 2 3 m STORE a STOREDIST b", &[1, 9]);
    found("GEORADIUSBYMEMBER k STORE 3 m", &[1]);
    found("GEORADIUSBYMEMBER k m 3 m ASC storedist d", &[1, 7]);
}

#[test]
fn migrate() {
    found("MIGRATE h 1 k 0 10", &[3]);
    found("MIGRATE h 1  0 10 AUTH KEYS KEYS a b", &[9, 10]);
    unroutable("MIGRATE h 1  0 10 COPY");
}

#[test]
fn slots() {
    let slot_of = |line| ask(line, slot_of);
    assert_eq!(slot_of("GET foo"), Ok(Some(12182)));
    assert_eq!(slot_of("MGET {foo}a foo"), Ok(Some(12182)));
    assert_eq!(slot_of("MGET foo bar"), Err(KeyError::CrossSlot));
    assert_eq!(slot_of("ZUNIONSTORE foo 1 bar"), Err(KeyError::CrossSlot));
    assert_eq!(slot_of("EVAL s 0 foo"), Ok(None));
    assert_eq!(slot_of("EVAL s x foo"), Err(KeyError::Unroutable));
    assert_eq!(slot_of("GET"), Ok(None));
    assert_eq!(slot_of("SSUBSCRIBE foo bar"), Err(KeyError::CrossSlot));
}

/// `EVAL s 1.5 k` got MOVED: nodes look for keys where there is no number of them.
#[test]
fn a_number_of_keys_is_read_as_a_server_looks_for_keys() {
    let slot_of =
        |count: &str| with_args(&["EVAL", "s", count, "foo"], |args| slot_of(resolve(args).unwrap(), args));
    for count in ["1", "1.5", "01", "+1", " 1", "\t1", "\x0b1", "1x", "1e3", "4294967297"] {
        assert_eq!(slot_of(count), Ok(Some(12182)), "{count:?}");
    }
    for count in ["x1", "", "-1", "--1", "0x1", "00", "2", "2147483649", "99999999999999999999"] {
        assert_eq!(slot_of(count), Err(KeyError::Unroutable), "{count:?}");
    }
}

#[test]
fn the_short_way_is_only_for_one_plain_key() {
    let first = |line| ask(line, |command, args| first_key(command, args).map(<[u8]>::to_vec));
    assert_eq!(first("GET k"), Some(b"k".to_vec()));
    assert_eq!(first("SET k v"), Some(b"k".to_vec()));
    for line in ["MGET k", "OBJECT ENCODING k", "SORT k", "PING", "GET"] {
        assert_eq!(first(line), None, "{line}");
    }
}

proptest! {
    /// Whatever the arguments are, positions lie within them, rise, and are as many as announced.
    #[test]
    fn positions_lie_within(
        id in 0..crate::command::count() as u16,
        words in proptest::collection::vec("STREAMS|STORE|KEYS|BLOCK|GROUP|GET|[0-9]|-1|k||255", 0..12),
    ) {
        let command = crate::command::by_id(id);
        let words: Vec<&str> = std::iter::once(command.name).chain(words.iter().map(String::as_str)).collect();
        with_args(&words, |args| {
            let Ok(found) = keys(command, args) else { return Ok(()) };
            let announced = found.len();
            let found: Vec<usize> = found.collect();
            prop_assert_eq!(found.len(), announced);
            prop_assert!(found.windows(2).all(|w| w[0] < w[1]));
            prop_assert!(found.iter().all(|at| (1..args.len()).contains(at)));
            Ok(())
        })?;
    }
}
