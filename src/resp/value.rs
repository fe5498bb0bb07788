//! Replies as trees, for the few places that must look inside one: topology, merges, tests. The data path does not
//! come here; it moves frames as they are.

use super::{head::Head, ReplyError, ReplyFramer, Scan};

/// A reply, owned. Attributes are dropped; streamed strings and aggregates look like the others.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `$-1` and `_`.
    Null,
    /// `*-1`.
    NullArray,
    /// `+`.
    Simple(Vec<u8>),
    /// `-` and `!`: the text, code first.
    Error(Vec<u8>),
    /// `:`.
    Int(i64),
    /// `$`.
    Bulk(Vec<u8>),
    /// `,`: the number as it is written.
    Double(Vec<u8>),
    /// `#`.
    Bool(bool),
    /// `(`: the digits.
    BigNumber(Vec<u8>),
    /// `=`.
    Verbatim {
        /// Three letters, `txt` or `mkd`.
        format: Vec<u8>,
        /// What follows the colon.
        text: Vec<u8>,
    },
    /// `*`.
    Array(Vec<Value>),
    /// `~`.
    Set(Vec<Value>),
    /// `%`, in the order of the wire.
    Map(Vec<(Value, Value)>),
    /// `>`.
    Push(Vec<Value>),
}

/// Aggregates within one another, at most: far more than any server nests, far less than a stack holds.
const MAX_DEPTH: usize = 128;

impl Value {
    /// The value at the start of `bytes` and how many bytes it has, or `None` when it is not all there.
    ///
    /// Begins from the start on each call, unlike [`ReplyFramer`].
    ///
    /// # Errors
    ///
    /// When `bytes` are no RESP, and [`ReplyError::TooDeep`] beyond 128 levels.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Value, usize)>, ReplyError> {
        match ReplyFramer::new().scan(bytes)? {
            Scan::More(_) => Ok(None),
            Scan::Done(end) => {
                let mut reader = Reader { rest: bytes.get(..end).unwrap_or_default() };
                let value = reader.value(0)?.ok_or(ReplyError::UnexpectedStreamPart)?;
                Ok(Some((value, end)))
            }
        }
    }

    /// The bytes of a bulk, simple or verbatim string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Bulk(text) | Value::Simple(text) | Value::Verbatim { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The bytes of a string, when they are UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        self.as_bytes().and_then(|text| std::str::from_utf8(text).ok())
    }

    /// The value of an integer.
    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The text of an error.
    pub fn as_error(&self) -> Option<&[u8]> {
        match self {
            Value::Error(text) => Some(text),
            _ => None,
        }
    }

    /// The elements of an array, set or push.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(elements) | Value::Set(elements) | Value::Push(elements) => Some(elements),
            _ => None,
        }
    }

    /// Whether it is one of the nulls.
    pub fn is_null(&self) -> bool {
        matches!(self, Value::Null | Value::NullArray)
    }

    /// The value that belongs to the string `name` in a map, or in the flat array that RESP2 has for one.
    pub fn field(&self, name: &[u8]) -> Option<&Value> {
        match self {
            Value::Map(entries) => entries.iter().find(|(k, _)| k.as_bytes() == Some(name)).map(|(_, v)| v),
            Value::Array(flat) => flat.chunks_exact(2).find_map(|pair| match pair {
                [key, value] if key.as_bytes() == Some(name) => Some(value),
                _ => None,
            }),
            _ => None,
        }
    }
}

/// Reads a frame whose end is known, so that running out of bytes means that it is malformed.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next value, or `None` for the end of a streamed aggregate.
    fn value(&mut self, depth: usize) -> Result<Option<Value>, ReplyError> {
        let mut head = self.head()?;
        while head.kind == b'|' {
            self.elements(&head, depth)?;
            head = self.head()?;
        }
        let text = head.text;
        Ok(Some(match head.kind {
            b'.' => return Ok(None),
            b'_' => Value::Null,
            b'$' if text == b"-1" => Value::Null,
            b'*' if text == b"-1" => Value::NullArray,
            b'+' => Value::Simple(text.to_vec()),
            b'-' => Value::Error(text.to_vec()),
            b'(' => Value::BigNumber(text.to_vec()),
            b'#' => Value::Bool(text == b"t"),
            b':' => Value::Int(parsed(text)?),
            b',' if is_double(text) => Value::Double(text.to_vec()),
            b',' => return Err(ReplyError::InvalidScalar),
            b'$' if head.is_streamed() => Value::Bulk(self.chunks()?),
            b'$' => Value::Bulk(self.body(&head)?.to_vec()),
            b'!' => Value::Error(self.body(&head)?.to_vec()),
            b'=' => verbatim(self.body(&head)?)?,
            b'*' => Value::Array(self.elements(&head, depth)?),
            b'~' => Value::Set(self.elements(&head, depth)?),
            b'>' => Value::Push(self.elements(&head, depth)?),
            b'%' => Value::Map(pairs(self.elements(&head, depth)?)),
            other => return Err(ReplyError::UnknownType(other)),
        }))
    }

    fn head(&mut self) -> Result<Head<'a>, ReplyError> {
        let (head, rest) = Head::split(self.rest)?;
        self.rest = rest;
        Ok(head)
    }

    /// The elements of an aggregate; of a map or an attribute, keys and values in turn.
    fn elements(&mut self, head: &Head<'_>, depth: usize) -> Result<Vec<Value>, ReplyError> {
        if depth >= MAX_DEPTH {
            return Err(ReplyError::TooDeep);
        }
        let mut elements = Vec::new();
        if head.is_streamed() {
            while let Some(element) = self.value(depth + 1)? {
                elements.push(element);
            }
            return Ok(elements);
        }
        for _ in 0..head.elements()? {
            elements.push(self.value(depth + 1)?.ok_or(ReplyError::UnexpectedStreamPart)?);
        }
        Ok(elements)
    }

    /// The bytes that follow a head with a length, and the line end behind them.
    fn body(&mut self, head: &Head<'_>) -> Result<&'a [u8], ReplyError> {
        let (body, rest) =
            head.length().and_then(|len| self.rest.split_at_checked(len)).ok_or(ReplyError::InvalidLength)?;
        self.rest = rest.strip_prefix(b"\r\n").ok_or(ReplyError::MissingLineEnd)?;
        Ok(body)
    }

    /// The chunks of a streamed string, joined.
    fn chunks(&mut self) -> Result<Vec<u8>, ReplyError> {
        let mut joined = Vec::new();
        loop {
            let head = self.head()?;
            if head.length() == Some(0) {
                return Ok(joined);
            }
            joined.extend_from_slice(self.body(&head)?);
        }
    }
}

/// Whether a text is made of what doubles are made of.
fn is_double(text: &[u8]) -> bool {
    match text.strip_prefix(b"-").unwrap_or(text) {
        b"inf" | b"nan" => true,
        [b'0'..=b'9' | b'.' | b'+', rest @ ..] => rest.iter().all(|b| b"0123456789.eE+-".contains(b)),
        _ => false,
    }
}

fn parsed<T: std::str::FromStr>(text: &[u8]) -> Result<T, ReplyError> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(ReplyError::InvalidScalar)
}

fn verbatim(body: &[u8]) -> Result<Value, ReplyError> {
    match body {
        [a, b, c, b':', text @ ..] => Ok(Value::Verbatim { format: vec![*a, *b, *c], text: text.to_vec() }),
        _ => Err(ReplyError::InvalidScalar),
    }
}

fn pairs(flat: Vec<Value>) -> Vec<(Value, Value)> {
    let mut pairs = Vec::with_capacity(flat.len() / 2);
    let mut elements = flat.into_iter();
    while let (Some(key), Some(value)) = (elements.next(), elements.next()) {
        pairs.push((key, value));
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Value {
        let bytes = text.replace('|', "\r\n");
        let parsed = Value::parse(bytes.as_bytes());
        let Ok(Some((value, len))) = parsed else { panic!("{text}: {parsed:?}") };
        assert_eq!(len, bytes.len(), "{text}");
        value
    }

    fn bulk(text: &str) -> Value {
        Value::Bulk(text.into())
    }

    #[test]
    fn scalars() {
        let cases = [
            ("$-1|", Value::Null),
            ("_|", Value::Null),
            ("*-1|", Value::NullArray),
            ("+OK|", Value::Simple(b"OK".to_vec())),
            ("-ERR no|", Value::Error(b"ERR no".to_vec())),
            ("!6|ERR no|", Value::Error(b"ERR no".to_vec())),
            (":-7|", Value::Int(-7)),
            (":+7|", Value::Int(7)),
            ("$4|a|b|", Value::Bulk(b"a\r\nb".to_vec())),
            (",1.5e3|", Value::Double(b"1.5e3".to_vec())),
            (",-inf|", Value::Double(b"-inf".to_vec())),
            ("#t|", Value::Bool(true)),
            ("#f|", Value::Bool(false)),
            ("(-123|", Value::BigNumber(b"-123".to_vec())),
            ("=5|mkd:x|", Value::Verbatim { format: b"mkd".to_vec(), text: b"x".to_vec() }),
            ("$?|;2|ab|;1|c|;0|", bulk("abc")),
        ];
        for (text, expected) in cases {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn aggregates() {
        let (a, b) = (bulk("a"), Value::Int(1));
        for (text, expected) in [
            ("*2|$1|a|:1|", Value::Array(vec![a.clone(), b.clone()])),
            ("*?|$1|a|:1|.|", Value::Array(vec![a.clone(), b.clone()])),
            ("~2|$1|a|:1|", Value::Set(vec![a.clone(), b.clone()])),
            (">2|$1|a|:1|", Value::Push(vec![a.clone(), b.clone()])),
            ("%1|$1|a|:1|", Value::Map(vec![(a.clone(), b.clone())])),
            ("%?|$1|a|:1|.|", Value::Map(vec![(a.clone(), b.clone())])),
        ] {
            assert_eq!(value(text), expected, "{text}");
        }
    }

    #[test]
    fn attributes_are_dropped() {
        let parsed = Value::parse(b"|1\r\n+k\r\n+v\r\n|0\r\n*1\r\n|1\r\n+k\r\n*0\r\n$1\r\na\r\n");
        assert_eq!(parsed.map(|p| p.map(|(v, _)| v)), Ok(Some(Value::Array(vec![bulk("a")]))));
    }

    #[test]
    fn any_number_of_attributes_is_no_depth() {
        let bytes = [b"|0\r\n".repeat(100_000), b":1\r\n".to_vec()].concat();
        assert_eq!(Value::parse(&bytes), Ok(Some((Value::Int(1), bytes.len()))));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
        assert!(Value::parse(&nested(MAX_DEPTH)).is_ok());
        assert_eq!(Value::parse(&nested(MAX_DEPTH + 1)), Err(ReplyError::TooDeep));
    }

    #[test]
    fn malformed_scalars() {
        for text in [",x\r\n", ",\r\n", "=3\r\ntxt\r\n", "=4\r\ntxt;\r\n", ":9223372036854775808\r\n"] {
            assert_eq!(Value::parse(text.as_bytes()), Err(ReplyError::InvalidScalar), "{text:?}");
        }
    }

    #[test]
    fn accessors() {
        assert_eq!(value("+OK|").as_str(), Some("OK"));
        assert_eq!(value("=5|txt:x|").as_bytes(), Some(&b"x"[..]));
        assert_eq!(value(":1|").as_bytes(), None);
        assert_eq!(value(":1|").as_int(), Some(1));
        assert_eq!(value("-ERR|").as_error(), Some(&b"ERR"[..]));
        assert_eq!(value("~1|:1|").as_array(), Some(&[Value::Int(1)][..]));
        assert!(value("_|").is_null() && value("*-1|").is_null() && !value("*0|").is_null());
        for text in ["%2|+a|:1|+b|:2|", "*4|+a|:1|$1|b|:2|"] {
            assert_eq!(value(text).field(b"b"), Some(&Value::Int(2)), "{text}");
            assert_eq!(value(text).field(b"c"), None, "{text}");
        }
    }
}
