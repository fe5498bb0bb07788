//! What a server makes of requests, well-formed and not. Each outcome was seen on Redis 7.0.15.

/// What becomes of the bytes of a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// The server waits for more.
    Wait,
    /// Skipped without a reply.
    Empty,
    /// Executed with these arguments.
    Args(&'static [&'static [u8]]),
    /// This reply, then the connection is closed.
    Error(&'static [u8]),
}

use Outcome::{Args, Empty, Error, Wait};

const MULTIBULK: Outcome = Error(b"-ERR Protocol error: invalid multibulk length\r\n");
const BULK: Outcome = Error(b"-ERR Protocol error: invalid bulk length\r\n");
const QUOTES: Outcome = Error(b"-ERR Protocol error: unbalanced quotes in request\r\n");
const PING: Outcome = Args(&[b"PING"]);

/// Bytes that begin with one request, and its outcome.
pub const CASES: &[(&[u8], Outcome)] = &[
    // Counts.
    (b"", Wait),
    (b"*", Wait),
    (b"*1", Wait),
    (b"*1\r", Wait),
    (b"*1\r\n", Wait),
    (b"*0\r\n", Empty),
    (b"*-1\r\n", Empty),
    (b"*-5\r\n", Empty),
    (b"*-2147483649\r\n", Empty),
    (b"*-9223372036854775808\r\n", Empty),
    (b"*-9223372036854775809\r\n", MULTIBULK),
    (b"*-0\r\n", MULTIBULK),
    (b"*-01\r\n", MULTIBULK),
    (b"*--1\r\n", MULTIBULK),
    (b"*-\r\n", MULTIBULK),
    (b"*\r\n", MULTIBULK),
    (b"*+3\r\n", MULTIBULK),
    (b"* 3\r\n", MULTIBULK),
    (b"*3 \r\n", MULTIBULK),
    (b"*00\r\n", MULTIBULK),
    (b"*01\r\n", MULTIBULK),
    (b"*abc\r\n", MULTIBULK),
    (b"*1\n\r\n", MULTIBULK),
    (b"*3\n", Wait),
    (b"*3\n*1\r\n", MULTIBULK),
    (b"*1\0\r\n", Wait),
    (b"*\0\r\n", Wait),
    (b"*1048577\r\n", Wait),
    (b"*2147483647\r\n", Wait),
    (b"*2147483648\r\n", MULTIBULK),
    (b"*9223372036854775807\r\n", MULTIBULK),
    (b"*9223372036854775808\r\n", MULTIBULK),
    (b"*18446744073709551617\r\n", MULTIBULK),
    // Lengths.
    (b"*1\r\n$-1\r\n", BULK),
    (b"*1\r\n$-0\r\n\r\n", BULK),
    (b"*1\r\n$abc\r\n", BULK),
    (b"*1\r\n$\r\n\r\n", BULK),
    (b"*1\r\n$4x\r\nPING\r\n", BULK),
    (b"*1\r\n$04\r\nPING\r\n", BULK),
    (b"*1\r\n$+4\r\nPING\r\n", BULK),
    (b"*1\r\n$ 4\r\nPING\r\n", BULK),
    (b"*1\r\n$4\nPING\r\n", BULK),
    (b"*1\r\n$536870912\r\n", Wait),
    (b"*1\r\n$536870913\r\n", BULK),
    (b"*1\r\n$9223372036854775808\r\n", BULK),
    (b"*1\r\n$18446744073709551616\r\n", BULK),
    (b"*1\r\n$-9223372036854775808\r\n", BULK),
    // Other things where a length should be.
    (b"*1\r\n:4", Wait),
    (b"*1\r\n:4\r", Wait),
    (b"*1\r\n:4\r\n", Error(b"-ERR Protocol error: expected '$', got ':'\r\n")),
    (b"*1\r\nPING\r\n", Error(b"-ERR Protocol error: expected '$', got 'P'\r\n")),
    (b"*1\r\n\r\n", Error(b"-ERR Protocol error: expected '$', got ' '\r\n")),
    (b"*1\r\n\n\r\n", Error(b"-ERR Protocol error: expected '$', got ' '\r\n")),
    (b"*1\r\r\n*", Wait),
    (b"*1\r\r\n*1\r\n", Error(b"-ERR Protocol error: expected '$', got ' '\r\n")),
    (b"*1\r\n\xff\r\n", Error(b"-ERR Protocol error: expected '$', got '\xff'\r\n")),
    (b"*1\r\n\\\r\n", Error(b"-ERR Protocol error: expected '$', got '\\'\r\n")),
    (b"*1\r\n'\r\n", Error(b"-ERR Protocol error: expected '$', got '''\r\n")),
    (b"*1\r\n\0\r\n", Wait),
    (b"*1\r\n$4\0\r\nPING\r\n", Wait),
    // Whole requests.
    (b"*1\r\n$4\r\nPING\r\n", PING),
    (b"*1\r\n$4\r\nPING\r", Wait),
    (b"*2\r\n$4\r\nECHO\r\n$12\r\n*1\r\n$2\r\n\0\xff\r\n\r\n", Args(&[b"ECHO", b"*1\r\n$2\r\n\0\xff\r\n"])),
    (b"*1\r\n$0\r\n\r\n", Args(&[b""])),
    (b"*1\r\n$0\r\nab", Args(&[b""])),
    (b"*1\rX$4\rXPINGXX", PING),
    (b"*1\r\n$4\rXPINGXY", PING),
    (b"*2\r\n$4\r\nPINGab$1\r\nx\0\x01", Args(&[b"PING", b"x"])),
    // Inline requests.
    (b"\r\n", Empty),
    (b"\n", Empty),
    (b"   \r\n", Empty),
    (b" \t\x0b\x0c\r \n", Empty),
    (b"PING", Wait),
    (b"PING\r", Wait),
    (b"PING\n", PING),
    (b"PING\r\n", PING),
    (b"PING\r\r\n", PING),
    (b" PING \r\n", PING),
    (b"\x0bPING\r\n", PING),
    (b"PING\rX\n", Args(&[b"PING", b"X"])),
    (b"+3\r\n", Args(&[b"+3"])),
    (b"$3\r\nabc\r\n", Args(&[b"$3"])),
    (b"PING\0\r\n", Wait),
    (b"\0\r\n", Wait),
    (b"ECHO \"a\0b\"\n", Wait),
    (b"PI\x0bNG\n", Args(&[b"PI\x0bNG"])),
    (b"ECHO a\xa0b\n", Args(&[b"ECHO", b"a\xa0b"])),
    (b"ECHO \"\"\n", Args(&[b"ECHO", b""])),
    (b"ECHO ''\n", Args(&[b"ECHO", b""])),
    (b"\"\"\n", Args(&[b""])),
    (b"\"PING\"\r\n", PING),
    (b"ECHO \"\\x41\\n\\r\\t\\b\\a\\q\\\"\\\\\"\n", Args(&[b"ECHO", b"A\n\r\t\x08\x07q\"\\"])),
    (b"ECHO \"\\xfF\\xZZ\\x4\"\n", Args(&[b"ECHO", b"\xffxZZx4"])),
    (b"ECHO 'it\\'s \\n \\x41'\n", Args(&[b"ECHO", b"it's \\n \\x41"])),
    (b"ECHO \\x41\n", Args(&[b"ECHO", b"\\x41"])),
    (b"ECHO \"a\rb\"\n", Args(&[b"ECHO", b"a\rb"])),
    (b"ECHO \"a\"\t\n", Args(&[b"ECHO", b"a"])),
    (b"ECHO \"a\"\x0b\n", Args(&[b"ECHO", b"a"])),
    (b"ECHO a\"b c\"\n", Args(&[b"ECHO", b"ab c"])),
    (b"ECHO a\"b c\"d\n", QUOTES),
    (b"ECHO \"a\"b\n", QUOTES),
    (b"ECHO 'a'b\n", QUOTES),
    (b"ECHO \"a", Wait),
    (b"ECHO \"a\r\n", QUOTES),
    (b"ECHO 'a\n", QUOTES),
    (b"ECHO a'\n", QUOTES),
    (b"ECHO \"\\\n", QUOTES),
    (b"ECHO \"\\x4\n", QUOTES),
];

/// As [`CASES`], for a client that has not authenticated.
pub const UNAUTHENTICATED: &[(&[u8], Outcome)] = &[
    (b"*10\r\n", Wait),
    (b"*11\r\n", Error(b"-ERR Protocol error: unauthenticated multibulk length\r\n")),
    (b"*2147483647\r\n", Error(b"-ERR Protocol error: unauthenticated multibulk length\r\n")),
    (b"*2147483648\r\n", MULTIBULK),
    (b"*11abc\r\n", MULTIBULK),
    (b"*-7\r\n", Empty),
    (b"*1\r\n$16384\r\n", Wait),
    (b"*1\r\n$16385\r\n", Error(b"-ERR Protocol error: unauthenticated bulk length\r\n")),
    (b"*1\r\n$536870912\r\n", Error(b"-ERR Protocol error: unauthenticated bulk length\r\n")),
    (b"*1\r\n$536870913\r\n", BULK),
    (
        b"PING a b c d e f g h i j k\n",
        Args(&[b"PING", b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h", b"i", b"j", b"k"]),
    ),
];
