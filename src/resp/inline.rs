//! Inline requests: one line of words, quoted as the server's `sdssplitargs` does. Knows nothing of where lines end
//! in a stream; that is [`super::RequestParser`]'s.

use super::RequestError;

/// The words of `line`, which may or may not still have its line end. A NUL ends the line as it does in the server.
///
/// Outside quotes a word ends at blank, tab, CR or LF. In double quotes `\xHH`, `\n`, `\r`, `\t`, `\b` and `\a` are
/// escapes and a backslash before anything else is dropped; in single quotes only `\'` is one. A closing quote must
/// be followed by white space or the end.
///
/// # Errors
///
/// [`RequestError::UnbalancedQuotes`]
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, RequestError> {
    let end = memchr::memchr(0, line).unwrap_or(line.len());
    let mut rest = line.get(..end).unwrap_or(line);
    let mut words = Vec::new();
    loop {
        rest = skip_space(rest);
        if rest.is_empty() {
            return Ok(words);
        }
        let mut text = Vec::new();
        rest = word(rest, &mut text)?;
        words.push(text);
    }
}

/// Whether the line holds no word at all.
pub(super) fn is_blank(line: &[u8]) -> bool {
    skip_space(line).is_empty()
}

/// Appends the word that `rest` begins with to `text`; returns what follows it.
fn word<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], RequestError> {
    loop {
        match rest {
            [] | [b' ' | b'\t' | b'\r' | b'\n', ..] => return Ok(rest),
            [b'"', tail @ ..] => return double_quoted(tail, text),
            [b'\'', tail @ ..] => return single_quoted(tail, text),
            [byte, tail @ ..] => {
                text.push(*byte);
                rest = tail;
            }
        }
    }
}

/// The part of a word in double quotes, which also ends the word.
fn double_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], RequestError> {
    loop {
        match rest {
            [] => return Err(RequestError::UnbalancedQuotes),
            [b'"', tail @ ..] => return closed(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                text.push(hex(*high) << 4 | hex(*low));
                rest = tail;
            }
            [b'\\', escaped, tail @ ..] => {
                text.push(unescape(*escaped));
                rest = tail;
            }
            [byte, tail @ ..] => {
                text.push(*byte);
                rest = tail;
            }
        }
    }
}

/// The part of a word in single quotes, which also ends the word.
fn single_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], RequestError> {
    loop {
        match rest {
            [] => return Err(RequestError::UnbalancedQuotes),
            [b'\'', tail @ ..] => return closed(tail),
            [b'\\', b'\'', tail @ ..] => {
                text.push(b'\'');
                rest = tail;
            }
            [byte, tail @ ..] => {
                text.push(*byte);
                rest = tail;
            }
        }
    }
}

/// What follows a closing quote, which must begin with white space.
fn closed(rest: &[u8]) -> Result<&[u8], RequestError> {
    match rest {
        [byte, ..] if !is_space(*byte) => Err(RequestError::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

/// The value of a hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20).wrapping_sub(b'a').wrapping_add(10),
    }
}

/// C's `isspace`, which unlike `is_ascii_whitespace` counts the vertical tab.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn skip_space(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|b| is_space(**b)).count();
    line.get(blanks..).unwrap_or_default()
}
