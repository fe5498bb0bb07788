//! The index against a plain search, and what holds for every row.

use super::*;
use proptest::prelude::*;

/// The oracle: goes through all rows.
fn search(name: &[u8]) -> Option<&'static Command> {
    commands().iter().find(|c| c.name.as_bytes().eq_ignore_ascii_case(name))
}

fn same(a: Option<&'static Command>, b: Option<&'static Command>) -> bool {
    a.map(|c| c.id) == b.map(|c| c.id)
}

#[test]
fn finds_every_command_in_any_case() {
    for command in commands() {
        let mixed: String = command
            .name
            .chars()
            .enumerate()
            .map(|(i, c)| if i % 2 == 0 { c.to_ascii_uppercase() } else { c })
            .collect();
        for name in [command.name.to_string(), command.name.to_ascii_uppercase(), mixed] {
            assert_eq!(lookup(name.as_bytes()).map(|c| c.id), Some(command.id), "{name}");
        }
    }
}

#[test]
fn does_not_find_what_differs_in_one_byte() {
    for command in commands() {
        for at in 0..command.name.len() {
            for byte in 0..=255 {
                let mut name = command.name.as_bytes().to_vec();
                name[at] = byte;
                assert!(same(lookup(&name), search(&name)), "{:?}", name.escape_ascii().to_string());
            }
        }
    }
}

#[test]
fn does_not_find_prefixes_extensions_and_repetitions() {
    for command in commands() {
        let name = command.name.as_bytes();
        for end in 0..name.len() {
            assert!(same(lookup(&name[..end]), search(&name[..end])));
        }
        assert!(same(lookup(&[name, b"s"].concat()), search(&[name, b"s"].concat())));
        assert!(lookup(&[name, name].concat()).is_none());
        assert!(lookup(&[name, b"\0"].concat()).is_none());
    }
    assert!(lookup(&[b'g'; 1000]).is_none());
}

#[test]
fn plain_commands_are_found_by_their_packed_name() {
    for command in commands().iter().filter(|c| c.name.len() <= 8) {
        let name = command.name.as_bytes();
        let packed = pack_short(name).unwrap();
        let argc = usize::from(command.arity.unsigned_abs());
        let first_place = INDEX[place((packed | CASE, 0), name.len())] == command.id;
        let found = lookup_plain(packed, name.len(), argc).map(|c| c.id);
        assert_eq!(found, (command.plain && first_place).then_some(command.id), "{}", command.name);
        let upper = pack_short(&name.to_ascii_uppercase()).unwrap();
        assert_eq!(lookup_plain(upper, name.len(), argc).map(|c| c.id), found);
        assert!(lookup_plain(packed, name.len(), argc - 1).is_none());
        for bit in 0..64 {
            let changed = packed ^ 1 << bit;
            let other = &changed.to_le_bytes()[8 - name.len()..];
            let hit = lookup_plain(changed, name.len(), argc);
            assert!(hit.is_none_or(|c| same(search(other), Some(c))), "{}", other.escape_ascii());
        }
    }
    let is_plain = |name: &str| lookup(name.as_bytes()).unwrap().plain;
    assert!(["get", "set", "incr", "hset", "lpush", "zadd", "expire"].into_iter().all(is_plain));
    assert!(!["mget", "del", "eval", "blpop", "object", "rename", "ping"].into_iter().any(is_plain));
}

#[test]
fn hot_commands_sit_in_their_first_place() {
    for name in ["get", "set", "mget", "mset", "incr", "del", "exists", "expire", "hget", "hset"] {
        let packed = pack(name.as_bytes()).unwrap();
        let command = lookup(name.as_bytes()).unwrap();
        assert_eq!(INDEX[place(packed, name.len())], command.id, "{name}");
    }
}

#[test]
fn ids_are_dense_and_lead_back() {
    let mut seen = vec![false; count()];
    for command in commands().iter().flat_map(|c| std::iter::once(c).chain(c.subcommands)) {
        assert!(!std::mem::replace(&mut seen[usize::from(command.id)], true), "{}", command.name);
        assert!(std::ptr::eq(by_id(command.id), command) || by_id(command.id).name == command.name);
        assert_eq!(by_id(command.id).container(), command.container());
    }
    assert!(seen.iter().all(|s| *s));
    assert_eq!(full_name(lookup(b"get").unwrap().id), "get");
    let config = lookup(b"CONFIG").unwrap();
    assert_eq!(full_name(subcommand(config, b"GET").unwrap().id), "config|get");
}

#[test]
fn names_are_unique_and_lower_case() {
    let mut names: Vec<String> = (0..count()).map(|id| full_name(id as u16)).collect();
    assert!(names.iter().all(|n| !n.is_empty() && *n == n.to_ascii_lowercase()));
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count());
}

#[test]
fn containers_and_only_they_have_subcommands() {
    for command in commands() {
        let has_some = !command.subcommands.is_empty();
        assert_eq!(
            command.class == Class::Container || command.name == "command",
            has_some,
            "{}",
            command.name
        );
        for sub in command.subcommands {
            assert_eq!(sub.container(), command.name);
            assert!(sub.subcommands.is_empty() && sub.class != Class::Container);
        }
    }
}

#[test]
fn refusals_name_the_command_and_are_one_line() {
    for id in 0..count() as u16 {
        let Class::Refused(text) = by_id(id).class else { continue };
        let first_word = full_name(id).split('|').next().unwrap().to_ascii_uppercase();
        assert!(text.starts_with(&first_word), "{}: {text}", full_name(id));
        assert!(!text.contains(['\r', '\n']) && !text.contains("  "), "{text}");
    }
}

#[test]
fn nothing_reads_and_writes() {
    for id in 0..count() as u16 {
        assert!(!by_id(id).flags.has(Flags::READONLY.and(Flags::WRITE)), "{}", full_name(id));
    }
}

#[test]
fn arity() {
    let get = lookup(b"get").unwrap();
    assert!(!arity_ok(get, 1) && arity_ok(get, 2) && !arity_ok(get, 3));
    let mget = lookup(b"mget").unwrap();
    assert!(!arity_ok(mget, 1) && arity_ok(mget, 2) && arity_ok(mget, 100_000));
    assert!(!arity_ok(get, 0) && !arity_ok(mget, 0));
}

proptest! {
    #[test]
    fn random_names_match_the_oracle(name in proptest::collection::vec(any::<u8>(), 0..24)) {
        prop_assert!(same(lookup(&name), search(&name)));
    }
}
