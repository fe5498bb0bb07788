//! The texts as a Redis 7.0 server gave them; `tests/command_table` compares them with a live one.

use super::*;
use crate::command::{lookup, subcommand};
use crate::resp::Span;

fn text(words: &[&[u8]], write: fn(&Args<'_>, &mut Vec<u8>)) -> String {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    for word in words {
        let start = bytes.len() as u32;
        bytes.extend_from_slice(word);
        spans.push(Span { start, end: bytes.len() as u32 });
    }
    // What is there before stays as it is, newlines included.
    let mut out = b"+OK\r\n-".to_vec();
    write(&Args::new(&bytes, &spans), &mut out);
    String::from_utf8(out).unwrap().strip_prefix("+OK\r\n-").unwrap().to_string()
}

#[test]
fn unknown_command() {
    let text = |words: &[&[u8]]| text(words, unknown_command_error);
    assert_eq!(text(&[b"foo"]), "ERR unknown command 'foo', with args beginning with: ");
    assert_eq!(text(&[b"FoO", b"a", b""]), "ERR unknown command 'FoO', with args beginning with: 'a' '' ");
    assert_eq!(text(&[b"f\r\no", b"a\nb"]), "ERR unknown command 'f  o', with args beginning with: 'a b' ");
    assert_eq!(
        text(&[b"f\0o", b"a\0b", b"c"]),
        "ERR unknown command 'f', with args beginning with: 'a' 'c' "
    );
}

#[test]
fn unknown_command_repeats_128_bytes() {
    let text = |words: &[&[u8]]| text(words, unknown_command_error);
    let prefix = "ERR unknown command 'foo', with args beginning with: ";
    let x = "x".repeat(200);
    assert_eq!(text(&[b"foo", x.as_bytes(), b"y"]), format!("{prefix}'{}' ", &x[..128]));
    assert_eq!(text(&[b"foo", &x.as_bytes()[..124], b"yz"]), format!("{prefix}'{}' 'y' ", &x[..124]));
    let name = text(&[x.as_bytes()]);
    assert_eq!(name, format!("ERR unknown command '{}', with args beginning with: ", &x[..128]));
}

#[test]
fn unknown_subcommand() {
    let text = |words: &[&[u8]]| text(words, unknown_subcommand_error);
    assert_eq!(text(&[b"ConFig", b"Xx\r\n"]), "ERR unknown subcommand 'Xx  '. Try CONFIG HELP.");
    assert_eq!(text(&[b"client", b"\0x", b"y"]), "ERR unknown subcommand ''. Try CLIENT HELP.");
}

#[test]
fn wrong_arity() {
    let config = lookup(b"CONFIG").unwrap();
    let mut out = Vec::new();
    wrong_arity_error(subcommand(config, b"GET").unwrap(), &mut out);
    assert_eq!(out, b"ERR wrong number of arguments for 'config|get' command");
    out.clear();
    wrong_arity_error(config, &mut out);
    assert_eq!(out, b"ERR wrong number of arguments for 'config' command");
}
