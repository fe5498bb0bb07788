//! Holds the tree to its own rules: who may use whom, how long files and functions are, what must not be in them.
//!
//! Exceptions stand in the tables here, each with its reason.

#[path = "tidy/source.rs"]
mod source;

use std::path::Path;

use source::{all_in, Source};

/// Lines of a file in `src`, its inline tests included.
const FILE_LIMIT: usize = 500;
/// Lines of a function in `src`.
const FUNCTION_LIMIT: usize = 70;

/// Files above the limit: path, why.
const LONG_FILES: &[(&str, &str)] = &[];
/// Functions above the limit: path, name, why.
const LONG_FUNCTIONS: &[(&str, &str, &str)] = &[];
/// The files that may hold `unsafe`.
const UNSAFE_FILES: &[&str] = &["src/net/memory.rs"];

/// A module of `src` and what of the crate it may name (`crate::...`), itself aside. Where the design draws rings:
/// `base <- resp, command <- cluster <- proxy <- net <- main`.
const RINGS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("resp", &["base"]),
    ("command", &["base", "resp"]),
    ("cluster", &["base", "resp", "command"]),
    ("config", &["base"]),
    ("stats", &["base", "command"]),
    ("proxy", &["base", "resp", "command", "cluster", "config", "stats"]),
    // Knows no command names.
    ("net", &["base", "resp", "cluster", "config", "stats", "proxy"]),
];

/// Words that only one ring may use, because it owns what they stand for.
const OWNED: &[(&str, &[&str])] = &[
    ("mio::", &["net"]),
    ("socket2::", &["net"]),
    ("signal_hook::", &["net", "main"]),
    ("Instant::now", &["net"]),
    ("SystemTime::now", &["net"]),
    ("thread::spawn", &["net", "main"]),
    ("thread::Builder", &["net", "main"]),
    ("TcpStream", &["net"]),
    ("TcpListener", &["net"]),
];

#[test]
fn rings_only_know_the_rings_below_them() {
    let mut faults = Vec::new();
    for file in all_in("src") {
        let Some((ring, allowed)) = RINGS.iter().find(|(r, _)| *r == file.module()) else {
            assert!(["lib", "main"].contains(&file.module()), "{} belongs to no ring", file.path);
            continue;
        };
        for (line, used) in file.crate_uses() {
            if used != *ring && !allowed.contains(&used.as_str()) {
                faults.push(format!("{}:{line} uses crate::{used}", file.path));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn sockets_clocks_threads_and_signals_are_in_net() {
    let mut faults = Vec::new();
    for file in all_in("src") {
        for (line, text) in file.code_outside_tests() {
            let taken =
                |(word, rings): &&(&str, &[&str])| text.contains(word) && !rings.contains(&file.module());
            faults.extend(
                OWNED.iter().filter(taken).map(|(word, _)| format!("{}:{line} uses {word}", file.path)),
            );
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn files_and_functions_are_short() {
    let mut faults = Vec::new();
    for file in all_in("src") {
        let lines = file.lines.len();
        if lines > FILE_LIMIT && !LONG_FILES.iter().any(|(p, _)| *p == file.path) {
            faults.push(format!("{} has {lines} lines, above {FILE_LIMIT}", file.path));
        }
        for f in file.functions() {
            let excused = LONG_FUNCTIONS.iter().any(|(p, n, _)| *p == file.path && *n == f.name);
            if f.lines > FUNCTION_LIMIT && !excused {
                faults.push(format!(
                    "{}:{} fn {} has {} lines, above {FUNCTION_LIMIT}",
                    file.path, f.line, f.name, f.lines
                ));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// An exception that is no longer needed goes.
#[test]
fn exceptions_are_still_needed() {
    for (path, _) in LONG_FILES {
        assert!(Source::read(path).lines.len() > FILE_LIMIT, "{path} is short by now");
    }
    for (path, name, _) in LONG_FUNCTIONS {
        let functions = Source::read(path).functions();
        assert!(
            functions.iter().any(|f| f.name == *name && f.lines > FUNCTION_LIMIT),
            "{path}: {name} is short by now"
        );
    }
    for path in UNSAFE_FILES {
        assert!(Path::new(path).exists(), "{path} is gone");
    }
}

#[test]
fn nothing_unsafe_outside_its_file() {
    let mut faults = Vec::new();
    for file in all_in("src").into_iter().filter(|f| !UNSAFE_FILES.contains(&f.path.as_str())) {
        let found = file.code.iter().enumerate().filter(|(_, text)| source::has_word(text, "unsafe"));
        faults.extend(found.map(|(i, _)| format!("{}:{}", file.path, i + 1)));
    }
    assert!(faults.is_empty(), "unsafe in:\n{}", faults.join("\n"));
}

/// A `// proven: ...` on the line or directly above it says why it cannot fail.
#[test]
fn nothing_is_unwrapped_without_a_proof() {
    let mut faults = Vec::new();
    for file in all_in("src") {
        for (line, text) in file.code_outside_tests() {
            let unwraps = [".unwrap()", ".expect(", ".unwrap_err()", "panic!(", "unreachable!("]
                .iter()
                .any(|w| text.contains(w));
            if unwraps && !file.has_proof(line) {
                faults.push(format!("{}:{line} {}", file.path, text.trim()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn nothing_is_left_to_do() {
    // Put together here, so that this file does not find itself.
    let words = [
        ["TO", "DO"].concat(),
        ["FIX", "ME"].concat(),
        ["X", "XX"].concat(),
        ["todo", "!("].concat(),
        ["unimplemented", "!("].concat(),
    ];
    let mut faults = Vec::new();
    for file in ["src", "tests", "benches"].iter().flat_map(|d| all_in(d)) {
        for (i, text) in file.lines.iter().enumerate() {
            faults.extend(
                words
                    .iter()
                    .filter(|w| source::has_word(text, w))
                    .map(|w| format!("{}:{} {w}", file.path, i + 1)),
            );
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What may sleep: the wait between two looks at a condition, and threads of the admin server that have nothing else to
/// do (a profile's duration, a pause when descriptors ran out).
const SLEEPERS: [&str; 3] = ["tests/support/wait.rs", "src/net/admin/mod.rs", "src/net/profile.rs"];

/// Tests wait for conditions.
#[test]
fn tests_do_not_sleep() {
    let mut faults = Vec::new();
    for file in
        ["src", "tests"].iter().flat_map(|d| all_in(d)).filter(|f| !SLEEPERS.contains(&f.path.as_str()))
    {
        let product = if file.path.starts_with("src/") { file.code_outside_tests() } else { Vec::new() };
        let sleeps = file
            .code
            .iter()
            .enumerate()
            .filter(|(_, text)| text.contains("thread::sleep"))
            .map(|(i, _)| i + 1);
        let in_tests = sleeps.filter(|line| !product.iter().any(|(l, _)| l == line));
        faults.extend(in_tests.map(|line| format!("{}:{line}", file.path)));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_file_says_what_it_owns() {
    let silent: Vec<String> =
        all_in("src").into_iter().filter(|f| !f.lines[0].starts_with("//!")).map(|f| f.path).collect();
    assert!(silent.is_empty(), "without a //! at the top: {silent:?}");
}

/// Prints what is longest; `tools/longest.sh` shows it.
#[test]
fn longest() {
    let files = all_in("src");
    let mut by_file: Vec<(usize, &str)> = files.iter().map(|f| (f.lines.len(), f.path.as_str())).collect();
    let mut by_function: Vec<(usize, String)> = files
        .iter()
        .flat_map(|s| s.functions().into_iter().map(|f| (f.lines, format!("{} {}", s.path, f.name))))
        .collect();
    by_file.sort_by(|a, b| b.cmp(a));
    by_function.sort_by(|a, b| b.cmp(a));
    println!("longest files of {}:", by_file.len());
    by_file.iter().take(10).for_each(|(n, what)| println!("{n:6} {what}"));
    println!("longest functions of {}:", by_function.len());
    by_function.iter().take(10).for_each(|(n, what)| println!("{n:6} {what}"));
    assert!(!by_file.is_empty());
}
