//! Texts made from the flag table: the usage text, the README's flag table, and the nearest name to a wrong one.

use super::flags::{Flag, Kind, FLAGS};
use super::PROGRAM;
use crate::base::sort;

/// The usage text, byte for byte as Go's `flag.PrintDefaults` lays it out: sorted by name, defaults that are zero
/// values left out, strings quoted.
pub(super) fn text() -> String {
    let mut rows: Vec<&Flag> = FLAGS.iter().collect();
    sort::by_key(&mut rows, |flag| flag.name);
    let mut out = format!("Usage of {PROGRAM}:\n");
    for flag in rows {
        out.push_str(&usage_row(flag));
    }
    out
}

/// The flag table of the README, in markdown.
pub fn flags_markdown() -> String {
    let mut out = String::from("| flag | default | meaning |\n|---|---|---|\n");
    for flag in FLAGS {
        let default = if flag.default.is_empty() { "\"\"" } else { flag.default };
        out.push_str(&format!("| `-{}` | `{default}` | {} |\n", flag.name, flag.help.replace('|', "\\|")));
    }
    out
}

/// The flag whose name is most like `name`, if any is near.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let folded = fold(name);
    let best = FLAGS.iter().map(|flag| (distance(&folded, &fold(flag.name)), flag.name)).min()?;
    // One slip per three letters; more than that and the guess would only puzzle.
    (best.0 <= folded.chars().count().min(60) / 3).then_some(best.1)
}

fn usage_row(flag: &Flag) -> String {
    let mut row = format!("  -{}", flag.name);
    if let Some(kind) = kind_name(flag.kind) {
        row.push(' ');
        row.push_str(kind);
    }
    row.push_str("\n    \t");
    row.push_str(flag.help);
    match (flag.kind, flag.default) {
        (_, "" | "0" | "0s" | "false") => {}
        (Kind::String, default) => row.push_str(&format!(" (default {default:?})")),
        (_, default) => row.push_str(&format!(" (default {default})")),
    }
    row.push('\n');
    row
}

fn kind_name(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Bool => None,
        Kind::Int => Some("int"),
        Kind::Duration => Some("duration"),
        Kind::String => Some("string"),
        Kind::Value => Some("value"),
    }
}

/// Underscores and dashes are the commonest mix-up, since glog's flags have the former and ours the latter.
fn fold(name: &str) -> String {
    name.replace('_', "-").to_ascii_lowercase()
}

/// How many letters must be put in, taken out or changed to turn one name into the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut costs: Vec<usize> = (0..=to.len()).collect();
    for (row, letter) in from.chars().take(64).enumerate() {
        let mut diagonal = row;
        let mut left = row + 1;
        for (cost, other) in costs.iter_mut().skip(1).zip(&to) {
            let best = (diagonal + usize::from(letter != *other)).min(left + 1).min(*cost + 1);
            diagonal = std::mem::replace(cost, best);
            left = best;
        }
        if let Some(first) = costs.first_mut() {
            *first = row + 1;
        }
    }
    costs.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        for (a, b, want) in
            [("", "", 0), ("addr", "addr", 0), ("adr", "addr", 1), ("", "abc", 3), ("kitten", "sitting", 3)]
        {
            assert_eq!(distance(a, b), want, "{a} {b}");
            assert_eq!(distance(b, a), want, "{b} {a}");
        }
    }

    #[test]
    fn nearest_finds_slips_only() {
        assert_eq!(nearest("conect-timeout"), Some("connect-timeout"));
        assert_eq!(nearest("startup_nodes"), Some("startup-nodes"));
        assert_eq!(nearest("log-dir"), Some("log_dir"));
        assert_eq!(nearest("x"), None);
        assert_eq!(nearest("completely-different"), None);
        assert_eq!(nearest(&"addr".repeat(1000)), None);
    }
}
