//! A `redis-server` of the test's own, and a client that is just able to ask it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command as Process, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A server of its own, gone with its files when dropped.
pub struct Server {
    process: Child,
    port: u16,
    dir: PathBuf,
    _log: BufReader<ChildStdout>,
}

impl Server {
    pub fn start(options: &[&str]) -> Server {
        // Another process may take the free port first, so try a few times.
        (0..5).find_map(|_| Server::try_start(options)).expect("a redis-server on a free port of 127.0.0.1")
    }

    fn try_start(options: &[&str]) -> Option<Server> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("command-table-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a temporary directory");
        // The bus of a cluster node is at 10000 above its port.
        let port = free_ports().find(|port| *port < 55_000).expect("a free port");
        let program = std::env::var("COMMAND_TABLE_SERVER").unwrap_or_else(|_| "redis-server".into());
        let mut process = Process::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--daemonize", "no"])
            .args(options)
            .current_dir(&dir)
            .stdout(Stdio::piped())
            .stdin(Stdio::null())
            .spawn()
            .expect("redis-server can be run");
        let log = BufReader::new(process.stdout.take().expect("piped"));
        let mut server = Server { process, port, dir, _log: log };
        server.wait_until_ready().then_some(server)
    }

    /// Reads the log up to the line that says so, or to its end.
    fn wait_until_ready(&mut self) -> bool {
        let mut line = Vec::new();
        loop {
            line.clear();
            match self._log.read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return false,
                Ok(_) if String::from_utf8_lossy(&line).contains("eady to accept connections") => {
                    return true
                }
                Ok(_) => {}
            }
        }
    }

    pub fn connect(&self) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).expect("the server accepts");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
        Client(BufReader::new(stream))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

fn free_ports() -> impl Iterator<Item = u16> {
    (0..100).filter_map(|_| Some(TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port()))
}

pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn ask<A: AsRef<[u8]>>(&mut self, words: &[A]) -> Reply {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words.iter().map(AsRef::as_ref) {
            request.extend(format!("${}\r\n", word.len()).bytes());
            request.extend_from_slice(word);
            request.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&request).expect("the server reads");
        self.read()
    }

    fn read(&mut self) -> Reply {
        let mut line = Vec::new();
        self.0.read_until(b'\n', &mut line).expect("the server answers");
        let body = line[1..].strip_suffix(b"\r\n").expect("a whole line");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let number = || std::str::from_utf8(body).unwrap().parse::<i64>().unwrap();
        match line[0] {
            b'+' => Reply::Text(text(body)),
            b'-' => Reply::Error(text(body)),
            b':' => Reply::Integer(number()),
            b'*' => Reply::Array((0..number()).map(|_| self.read()).collect()),
            b'$' if number() < 0 => Reply::Text(String::new()),
            b'$' => {
                let mut bulk = vec![0; number() as usize + 2];
                self.0.read_exact(&mut bulk).expect("a whole bulk string");
                bulk.truncate(bulk.len() - 2);
                Reply::Text(text(&bulk))
            }
            other => panic!("reply of type {other}"),
        }
    }

    pub fn listed_commands(&mut self) -> BTreeMap<String, Listed> {
        let mut listed = BTreeMap::new();
        for entry in self.ask(&["COMMAND"]).array() {
            list(entry, &mut listed);
        }
        assert!(listed.len() > 300, "only {} commands listed", listed.len());
        listed
    }

    pub fn is_7_0(&mut self) -> bool {
        self.ask(&["INFO", "server"]).text().contains("redis_version:7.0.")
    }

    /// What `COMMAND GETKEYS` says; no keys when the server says so in an error.
    pub fn keys_of(&mut self, words: &[&str]) -> Vec<String> {
        match self.ask(&[&["COMMAND", "GETKEYS"], words].concat()) {
            Reply::Array(keys) => keys.iter().map(|key| key.text().to_string()).collect(),
            Reply::Error(text) => {
                assert_eq!(text, "ERR The command has no key arguments", "{words:?}");
                Vec::new()
            }
            other => panic!("{words:?}: {other:?}"),
        }
    }
}

#[derive(Debug, PartialEq)]
pub enum Reply {
    Text(String),
    Error(String),
    Integer(i64),
    Array(Vec<Reply>),
}

impl Reply {
    pub fn array(&self) -> &[Reply] {
        match self {
            Reply::Array(elements) => elements,
            other => panic!("no array: {other:?}"),
        }
    }

    pub fn integer(&self) -> i64 {
        match self {
            Reply::Integer(n) => *n,
            other => panic!("no integer: {other:?}"),
        }
    }

    pub fn text(&self) -> &str {
        match self {
            Reply::Text(text) => text,
            other => panic!("no text: {other:?}"),
        }
    }

    pub fn is_error_with(&self, code: &str) -> bool {
        matches!(self, Reply::Error(text) if text.starts_with(code))
    }
}

/// What `COMMAND` says of one command.
pub struct Listed {
    pub arity: i64,
    pub flags: Vec<String>,
    pub range: (i64, i64, i64),
    /// Whether what has a slot is no key: a channel, a cursor.
    pub not_key: bool,
}

fn list(entry: &Reply, listed: &mut BTreeMap<String, Listed>) {
    let fields = entry.array();
    let flags = fields[2].array().iter().map(|flag| flag.text().to_string()).collect();
    let not_key = Reply::Text("not_key".into());
    let not_key = fields[8]
        .array()
        .iter()
        .flat_map(Reply::array)
        .any(|field| matches!(field, Reply::Array(flags) if flags.contains(&not_key)));
    let range = (fields[3].integer(), fields[4].integer(), fields[5].integer());
    listed.insert(
        fields[0].text().to_ascii_lowercase(),
        Listed { arity: fields[1].integer(), flags, range, not_key },
    );
    for subcommand in fields[9].array() {
        list(subcommand, listed);
    }
}
