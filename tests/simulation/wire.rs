//! RESP for both ends of the simulation, written without the proxy's own parsers: a fault there must not hide here.

use std::fmt;

/// One whole value.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Int(i64),
    Bulk(Vec<u8>),
    /// `$-1` or `*-1`.
    Nil2,
    /// `_`.
    Nil3,
    Array(Vec<Value>),
    /// Keys and values in turn.
    Map(Vec<Value>),
    Push(Vec<Value>),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |b: &Vec<u8>| String::from_utf8_lossy(&b[..b.len().min(60)]).into_owned();
        match self {
            Value::Simple(t) => write!(f, "+{}", text(t)),
            Value::Error(t) => write!(f, "-{}", String::from_utf8_lossy(t)),
            Value::Int(n) => write!(f, ":{n}"),
            Value::Bulk(t) => write!(f, "{:?}", text(t)),
            Value::Nil2 => f.write_str("nil"),
            Value::Nil3 => f.write_str("null"),
            Value::Array(v) | Value::Map(v) | Value::Push(v) => f.debug_list().entries(v).finish(),
        }
    }
}

impl Value {
    pub fn is_nil(&self) -> bool {
        matches!(self, Value::Nil2 | Value::Nil3)
    }

    /// Text of an error.
    pub fn error(&self) -> Option<String> {
        match self {
            Value::Error(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }
    }
}

/// The value at the start of `bytes` and how long it is; `None` while it is not whole.
///
/// # Errors
/// A text when the bytes are no RESP.
pub fn parse(bytes: &[u8]) -> Result<Option<(Value, usize)>, String> {
    let Some(end) = bytes.windows(2).position(|w| w == b"\r\n") else { return Ok(None) };
    let (line, mut at) = (&bytes[1..end], end + 2);
    let number = || -> Result<i64, String> {
        let text = String::from_utf8_lossy(line).into_owned();
        text.parse().map_err(|_| format!("not a number: {text:?}"))
    };
    let value = match bytes[0] {
        b'+' => Value::Simple(line.to_vec()),
        b'-' => Value::Error(line.to_vec()),
        b':' => Value::Int(number()?),
        b'_' => Value::Nil3,
        b'$' | b'*' if number()? == -1 => Value::Nil2,
        b'$' => {
            let len = usize::try_from(number()?).map_err(|e| e.to_string())?;
            if bytes.len() < at + len + 2 {
                return Ok(None);
            }
            if &bytes[at + len..at + len + 2] != b"\r\n" {
                return Err("no line end behind a bulk".into());
            }
            at += len + 2;
            Value::Bulk(bytes[at - len - 2..at - 2].to_vec())
        }
        kind @ (b'*' | b'%' | b'>') => {
            let count = number()? * if kind == b'%' { 2 } else { 1 };
            let mut items = Vec::new();
            for _ in 0..count {
                let Some((item, len)) = parse(&bytes[at..])? else { return Ok(None) };
                items.push(item);
                at += len;
            }
            match kind {
                b'*' => Value::Array(items),
                b'%' => Value::Map(items),
                _ => Value::Push(items),
            }
        }
        other => return Err(format!("unknown type {:?}", other as char)),
    };
    Ok(Some((value, at)))
}

/// The arguments of the command at the start of `bytes` and how long it is; `None` while it is not whole.
///
/// # Panics
/// When the bytes are no command: the proxy sent them.
pub fn parse_command(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, usize)> {
    if bytes.is_empty() {
        return None;
    }
    match parse(bytes) {
        Ok(None) => None,
        Ok(Some((Value::Array(items), len))) => {
            let text = |v| if let Value::Bulk(b) = v { b } else { panic!("argument {v:?} is no bulk") };
            Some((items.into_iter().map(text).collect(), len))
        }
        other => panic!("the proxy sent no command: {other:?} in {:?}", String::from_utf8_lossy(bytes)),
    }
}

/// The arguments of a command of a client, whichever form it has.
pub fn parse_any_command(text: &[u8]) -> Vec<Vec<u8>> {
    match parse_command_or_inline(text) {
        Some(args) => args,
        None => panic!("a client says no whole command: {:?}", String::from_utf8_lossy(text)),
    }
}

fn parse_command_or_inline(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    if text.first() == Some(&b'*') {
        return parse_command(text).map(|c| c.0);
    }
    let words = text.strip_suffix(b"\r\n")?.split(|b| *b == b' ');
    Some(words.map(<[u8]>::to_vec).collect())
}

/// A command as a multibulk.
pub fn command<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(&bulk(arg.as_ref()));
    }
    out
}

pub fn bulk(body: &[u8]) -> Vec<u8> {
    let mut out = format!("${}\r\n", body.len()).into_bytes();
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
    out
}

pub fn nil(resp3: bool) -> Vec<u8> {
    if resp3 { &b"_\r\n"[..] } else { b"$-1\r\n" }.to_vec()
}

pub fn int(n: usize) -> Vec<u8> {
    format!(":{n}\r\n").into_bytes()
}
