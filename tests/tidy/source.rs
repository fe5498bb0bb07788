//! A source file as the tidy test sees it: its lines, and its code with comments and literals blanked out.

use std::fs;
use std::path::Path;

/// One file.
#[derive(Debug)]
pub struct Source {
    /// Path from the root of the project.
    pub path: String,
    /// Its lines as they stand.
    pub lines: Vec<String>,
    /// Its lines with comments and the contents of literals replaced by blanks.
    pub code: Vec<String>,
}

/// A function with a body.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// Where it starts, from 1.
    pub line: usize,
    /// Lines from the word `fn` to the closing brace.
    pub lines: usize,
}

/// All Rust files below a directory of the project, by path.
pub fn all_in(dir: &str) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(dir), dir, &mut paths);
    paths.sort();
    paths.iter().map(|p| Source::read(p)).collect()
}

/// Whether `text` holds `word` with no letter, digit or `_` beside it.
pub fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word).any(|(i, _)| {
        !is_part(text[..i].chars().next_back()) && !is_part(text[i + word.len()..].chars().next())
    })
}

impl Source {
    /// Reads a file by its path from the root of the project.
    pub fn read(path: &str) -> Source {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        let code = blank_out(&text).lines().map(String::from).collect();
        Source { path: path.to_string(), lines: text.lines().map(String::from).collect(), code }
    }

    /// The module of the crate it belongs to: the first word behind `src/`.
    pub fn module(&self) -> &str {
        self.path.split('/').nth(1).unwrap_or("").trim_end_matches(".rs")
    }

    /// The modules named as `crate::module`, with their lines (from 1); groups `crate::{a, b}` too.
    pub fn crate_uses(&self) -> Vec<(usize, String)> {
        let mut uses = Vec::new();
        for (i, text) in self.code.iter().enumerate() {
            for (at, word) in text.match_indices("crate::") {
                let rest = &text[at + word.len()..];
                let names: Vec<&str> = match rest.strip_prefix('{') {
                    Some(group) => group.split(['}', ',']).map(str::trim).collect(),
                    None => vec![rest],
                };
                let first_word = |n: &str| {
                    n.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap_or("").to_string()
                };
                uses.extend(names.into_iter().map(first_word).filter(|n| !n.is_empty()).map(|n| (i + 1, n)));
            }
        }
        uses
    }

    /// Lines of code (from 1) that are not part of tests: neither in a file of tests nor below `#[cfg(test)]`.
    pub fn code_outside_tests(&self) -> Vec<(usize, &str)> {
        let is_test_file = self.path.contains("/tests/")
            || self.path.ends_with("tests.rs")
            || self.path.contains("/testing");
        let all = if is_test_file { &[] } else { self.code.as_slice() };
        let mut out = Vec::new();
        let mut i = 0;
        while i < all.len() {
            if all[i].contains("#[cfg(test)]") {
                i = self.end_of_item(i);
            } else {
                out.push((i + 1, all[i].as_str()));
            }
            i += 1;
        }
        out
    }

    /// Whether the line (from 1), or the comment directly above it, says `proven:`.
    pub fn has_proof(&self, line: usize) -> bool {
        let says = |text: &str| text.split_once("//").is_some_and(|(_, c)| c.contains("proven:"));
        let above = self.lines[..line - 1].iter().rev().take_while(|l| l.trim_start().starts_with("//"));
        says(&self.lines[line - 1]) || above.into_iter().any(|l| says(l))
    }

    /// Every function that has a body.
    pub fn functions(&self) -> Vec<Function> {
        let starts = self.code.iter().enumerate().filter_map(|(i, text)| Some((i, function_name(text)?)));
        let with_body = starts.filter(|(i, _)| self.has_body(*i));
        with_body
            .map(|(i, name)| Function { name, line: i + 1, lines: self.end_of_item(i) - i + 1 })
            .collect()
    }

    /// Whether a brace comes before a semicolon from line `from` (from 0) on; `[u8; 4]` in a signature does not count.
    fn has_body(&self, from: usize) -> bool {
        let mut brackets = 0;
        for c in self.code[from..].iter().flat_map(|l| l.chars()) {
            match c {
                '[' => brackets += 1,
                ']' => brackets -= 1,
                '{' => return true,
                ';' if brackets == 0 => return false,
                _ => {}
            }
        }
        false
    }

    /// The line (from 0) on which the item that starts at line `from` ends: its closing brace, or its semicolon.
    fn end_of_item(&self, from: usize) -> usize {
        let mut depth = 0;
        let mut brackets = 0;
        for (i, text) in self.code.iter().enumerate().skip(from) {
            for c in text.chars() {
                match c {
                    '[' => brackets += 1,
                    ']' => brackets -= 1,
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ';' if depth == 0 && brackets == 0 => return i,
                    _ => {}
                }
                if c == '}' && depth == 0 {
                    return i;
                }
            }
        }
        self.code.len() - 1
    }
}

fn collect(dir: &Path, name: &str, paths: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = format!("{name}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            collect(&entry.path(), &path, paths);
        } else if path.ends_with(".rs") {
            paths.push(path);
        }
    }
}

fn function_name(code: &str) -> Option<String> {
    let (before, after) = code.split_once("fn ")?;
    let is_definition = before.split_whitespace().all(|w| {
        w.starts_with("pub")
            || ["const", "async", "unsafe", "extern", "default", "crate)", "super)"].contains(&w)
            || w.starts_with('"')
    });
    let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (is_definition && !name.is_empty()).then_some(name)
}

/// The text with everything inside comments, strings and character literals replaced by blanks; lines stay lines.
fn blank_out(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let end = literal_end(&chars, i);
        if end > i {
            out.extend(chars[i..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            i = end;
        } else {
            out.push(chars[i]);
            i += 1;
        }
    }
    out
}

/// Where the comment or literal that starts at `i` ends; `i` when none starts there.
fn literal_end(chars: &[char], i: usize) -> usize {
    let at = |n: usize| chars.get(i + n).copied().unwrap_or('\0');
    let after_word = i > 0 && (chars[i - 1].is_alphanumeric() || chars[i - 1] == '_');
    match at(0) {
        '/' if at(1) == '/' => find(chars, i, "\n"),
        '/' if at(1) == '*' => find(chars, i, "*/") + 2,
        '"' => string_end(chars, i),
        'r' if !after_word || chars[i - 1] == 'b' => raw_string_end(chars, i),
        '\'' if at(1) == '\\' => find(chars, i + 3, "'") + 1,
        '\'' if at(2) == '\'' => i + 3,
        _ => i,
    }
    .min(chars.len())
}

fn string_end(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != '"' {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    i + 1
}

/// `r"..."`, `r#"..."#` and so on; `i` when it is only the letter.
fn raw_string_end(chars: &[char], i: usize) -> usize {
    let hashes = chars[i + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(i + 1 + hashes) != Some(&'"') {
        return i;
    }
    let close = format!("\"{}", "#".repeat(hashes));
    find(chars, i + 2 + hashes, &close) + close.len()
}

/// Where `what` starts at or behind `from`; the end of the text when it does not.
fn find(chars: &[char], from: usize, what: &str) -> usize {
    let what: Vec<char> = what.chars().collect();
    let starts = from..chars.len();
    starts.clone().find(|i| chars[*i..].starts_with(&what)).unwrap_or(chars.len())
}
