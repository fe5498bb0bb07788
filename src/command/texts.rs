//! The errors a server gives before it runs a command, in its own words: client libraries read them. Checked byte for
//! byte against a live server. All texts are without the leading `-` and the final CRLF.

use super::spec::Command;
use crate::resp::Args;

/// How much of a name, and of all arguments together, a server repeats.
const REPEATED: usize = 128;

/// Appends `ERR unknown command 'x', with args beginning with: 'a' 'b' `.
pub fn unknown_command_error(args: &Args<'_>, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(b"ERR unknown command '");
    out.extend_from_slice(head(args.get(0), REPEATED));
    out.extend_from_slice(b"', with args beginning with: ");
    let args_begin = out.len();
    for arg in args.iter().skip(1) {
        let so_far = out.len() - args_begin;
        if so_far >= REPEATED {
            break;
        }
        out.push(b'\'');
        out.extend_from_slice(head(Some(arg), REPEATED - so_far));
        out.extend_from_slice(b"' ");
    }
    blank_newlines(&mut out[begin..]);
}

/// Appends `ERR unknown subcommand 'x'. Try CONFIG HELP.`; argument 0 is the container, argument 1 what it does not know.
pub fn unknown_subcommand_error(args: &Args<'_>, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(b"ERR unknown subcommand '");
    out.extend_from_slice(head(args.get(1), REPEATED));
    out.extend_from_slice(b"'. Try ");
    out.extend(head(args.get(0), usize::MAX).iter().map(u8::to_ascii_uppercase));
    out.extend_from_slice(b" HELP.");
    blank_newlines(&mut out[begin..]);
}

/// Appends `ERR wrong number of arguments for 'config|get' command`.
pub fn wrong_arity_error(command: &Command, out: &mut Vec<u8>) {
    out.extend_from_slice(b"ERR wrong number of arguments for '");
    if command.of.is_some() {
        out.extend_from_slice(command.container().as_bytes());
        out.push(b'|');
    }
    out.extend_from_slice(command.name.as_bytes());
    out.extend_from_slice(b"' command");
}

/// What a server's `%.*s` prints of an argument: at most `most` bytes, and none from the first NUL on.
fn head(arg: Option<&[u8]>, most: usize) -> &[u8] {
    let arg = arg.unwrap_or_default();
    let arg = &arg[..arg.len().min(most)];
    memchr::memchr(0, arg).map_or(arg, |nul| &arg[..nul])
}

/// A reply line cannot hold newlines; a server writes blanks instead.
fn blank_newlines(text: &mut [u8]) {
    for byte in text {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests;
