//! What must hold on every kind of server: these tests also run on Redis 8.2 and Valkey 9.1.

use crate::support::frame::{integer, is_error, items, request, show, text};
use crate::support::keys::{slot, tags_where};
use crate::{client, pair};

#[test]
fn a_pipeline_of_10000_is_answered_in_order() {
    let mut c = client();
    let all: Vec<u8> = (0..5000)
        .flat_map(|i| {
            let key = format!("pipeline:{i}");
            [request(&["SET", &key, &i.to_string()]), request(&["GET", &key])].concat()
        })
        .collect();
    c.send(&all);
    for i in 0..5000 {
        assert_eq!(c.frame(), b"+OK\r\n", "SET {i}");
        assert_eq!(text(&c.frame()), i.to_string(), "GET {i}");
    }
}

#[test]
fn commands_to_one_key_keep_their_order_among_others() {
    let mut c = client();
    let all: Vec<u8> =
        (0..2000).flat_map(|i| request(&["APPEND", &format!("order:{}", i % 7), &format!("{i},")])).collect();
    c.send(&all);
    c.frames(2000);
    for k in 0..7 {
        let expected: String = (0..2000).filter(|i| i % 7 == k).map(|i| format!("{i},")).collect();
        assert_eq!(text(&c.call(&["GET", &format!("order:{k}")])), expected);
    }
}

#[test]
fn keys_and_values_may_hold_any_bytes() {
    let mut c = client();
    let keys: [&[u8]; 5] =
        [b"nul\0key", b"crlf\r\nkey", b"\xff\xfe\x80", b"$3\r\nfoo\r\n", b"-MOVED 1 127.0.0.1:1\r\n"];
    for key in keys {
        assert_eq!(c.call(&[b"SET", key, key]), b"+OK\r\n");
        assert_eq!(c.call(&[b"GET", key]), request(&[key])[4..], "{}", show(key));
    }
    let mget: Vec<&[u8]> = [&b"MGET"[..]].into_iter().chain(keys).collect();
    assert_eq!(c.call(&mget), request(&keys));
}

#[test]
fn empty_keys_and_values_are_values() {
    let mut p = pair();
    p.same(&["SET", "", "x"]);
    p.same(&["GET", ""]);
    p.same(&["SET", "empty-value", ""]);
    p.same(&["GET", "empty-value"]);
    p.same(&["STRLEN", "empty-value"]);
    p.same(&["DEL", ""]);
}

#[test]
fn a_value_of_20_mib_goes_both_ways() {
    let mut c = client();
    let value: Vec<u8> = (0..20 << 20).map(|i: u32| (i % 251) as u8).collect();
    assert_eq!(c.call(&[b"SET", &b"large"[..], &value]), b"+OK\r\n");
    let reply = c.call(&["GET", "large"]);
    assert!(
        reply[..reply.len() - 2].ends_with(&value) && reply.len() == value.len() + 13,
        "{} bytes",
        reply.len()
    );
    assert_eq!(c.call(&["DEL", "large"]), b":1\r\n");
}

#[test]
fn ordinary_commands_answer_as_a_standalone_server() {
    let mut p = pair();
    for line in [
        "SET core:s 10",
        "INCRBY core:s 5",
        "APPEND core:s x",
        "GETRANGE core:s 0 1",
        "STRLEN core:s",
        "INCR core:s",
        "RPUSH core:l a b c",
        "LRANGE core:l 0 -1",
        "LPOP core:l 2",
        "LLEN core:l",
        "LINDEX core:l 9",
        "HSET core:h f v g w",
        "HGETALL core:h",
        "HMGET core:h f x",
        "HDEL core:h f",
        "HINCRBYFLOAT core:h n 1.5",
        "SADD core:t a",
        "SISMEMBER core:t a",
        "SMEMBERS core:t",
        "SCARD core:t",
        "SPOP core:t",
        "ZADD core:z 1 a 2.5 b",
        "ZRANGE core:z 0 -1 WITHSCORES",
        "ZSCORE core:z b",
        "ZRANK core:z b",
        "ZPOPMIN core:z",
        "XADD core:x 1-1 f v",
        "XRANGE core:x - +",
        "XLEN core:x",
        "PFADD core:p a b",
        "PFCOUNT core:p",
        "SETBIT core:b 7 1",
        "BITCOUNT core:b",
        "GEOADD core:g 13.361389 38.115556 P",
        "GEOPOS core:g P",
        "EXPIRE core:s 1000",
        "PERSIST core:s",
        "TTL core:s",
        "PTTL core:none",
        "TYPE core:z",
        "OBJECT ENCODING core:s",
        "SET core:n v NX GET",
        "SET core:n w XX",
        "GETDEL core:n",
        "GET core:n",
        "EXISTS core:none",
        "DUMP core:none",
        "SORT core:l",
        "LPUSH core:s x",
        "GET core:h",
        "SET core:s v BADOPTION",
        "HSET core:h odd",
        "ZADD core:z x a",
        "EVAL return{KEYS[1],ARGV[1],1} 1 core:s a",
        "EVAL return(redis.error_reply('MY_own')) 1 core:s",
        "DEL core:s core:l",
        "RENAME {core}:none {core}:other",
        "COPY {core}:none {core}:other",
    ] {
        p.same_line(line);
    }
}

#[test]
fn mget_returns_values_in_the_order_of_its_keys_with_repeats_and_gaps() {
    let mut c = client();
    for i in (0..100).step_by(2) {
        c.call(&["SET", &format!("mget:{i}"), &format!("v{i}")]);
    }
    let order: Vec<usize> = (0..100).chain((0..100).rev()).chain([4, 4, 5, 5]).collect();
    let keys = order.iter().map(|i| format!("mget:{i}"));
    let reply = c.call(&["MGET".to_string()].into_iter().chain(keys).collect::<Vec<_>>());
    let expected: Vec<u8> = order
        .iter()
        .flat_map(|i| if i % 2 == 0 { bulk(&format!("v{i}")) } else { b"$-1\r\n".to_vec() })
        .collect();
    assert_eq!(show(&reply), show(&[b"*204\r\n".to_vec(), expected].concat()));
}

#[test]
fn mget_of_another_type_is_nil_as_in_a_server() {
    let mut p = pair();
    p.same_line("DEL core:list");
    p.same_line("RPUSH core:list a");
    p.same_line("MGET core:list core:nothing core:list");
}

#[test]
fn the_last_value_of_a_repeated_key_wins_in_mset() {
    let mut c = client();
    assert_eq!(c.line("MSET rep:a 1 rep:b 2 rep:a 3 rep:c 4 rep:a 5"), b"+OK\r\n");
    assert_eq!(c.line("MGET rep:a rep:b rep:c"), b"*3\r\n$1\r\n5\r\n$1\r\n2\r\n$1\r\n4\r\n");
}

#[test]
fn counting_commands_count_repeats_as_a_server_does() {
    let mut p = pair();
    for command in ["EXISTS", "TOUCH", "DEL", "UNLINK"] {
        p.same_line("MSET count:a 1 count:b 2 count:c 3");
        p.same_line(&format!("{command} count:a count:a count:b count:none count:c count:c count:none"));
        p.same_line("EXISTS count:a count:b count:c");
    }
}

#[test]
fn ten_thousand_keys_are_written_read_and_deleted_at_once() {
    let mut c = client();
    let keys: Vec<String> = (0..10_000).map(|i| format!("many:{i}")).collect();
    let with = |name: &str| [name.to_string()].into_iter().chain(keys.iter().cloned()).collect::<Vec<_>>();
    let pairs = keys.iter().flat_map(|k| [k.clone(), format!("value of {k}")]);
    assert_eq!(c.call(&["MSET".to_string()].into_iter().chain(pairs).collect::<Vec<_>>()), b"+OK\r\n");
    assert_eq!(integer(&c.call(&with("EXISTS"))), 10_000);
    assert_eq!(integer(&c.call(&with("TOUCH"))), 10_000);
    let reply = c.call(&with("MGET"));
    for (key, value) in keys.iter().zip(items(&reply)) {
        assert_eq!(text(value), format!("value of {key}"));
    }
    assert_eq!(integer(&c.call(&with("DEL"))), 10_000);
    assert_eq!(integer(&c.call(&with("UNLINK"))), 0);
}

#[test]
fn mget_of_100000_keys_has_every_value_in_its_place() {
    let mut c = client();
    for i in 0..50 {
        assert_eq!(c.call(&["SET", &format!("huge:{i}"), &i.to_string()]), b"+OK\r\n");
    }
    // Every other key repeats one of 50, the rest do not exist.
    let key = |i: usize| if i % 2 == 0 { format!("huge:{}", i / 2 % 50) } else { format!("huge:none:{i}") };
    let keys = (0..100_000).map(key);
    let reply = c.call(&["MGET".to_string()].into_iter().chain(keys).collect::<Vec<_>>());
    let values = items(&reply);
    assert_eq!(values.len(), 100_000);
    for (i, value) in values.iter().enumerate() {
        let expected = if i % 2 == 0 { bulk(&(i / 2 % 50).to_string()) } else { b"$-1\r\n".to_vec() };
        assert_eq!(show(value), show(&expected), "value {i}");
    }
}

#[test]
fn keys_of_two_slots_are_refused_where_a_command_cannot_be_split() {
    let mut c = client();
    let expected = b"-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    for line in [
        "MSETNX x:a 1 x:b 2",
        "RENAME x:a x:b",
        "SINTERSTORE x:a x:b x:c",
        "BITOP AND x:a x:b x:c",
        "COPY x:a x:b",
        "LMOVE x:a x:b LEFT LEFT",
        "SMOVE x:a x:b m",
        "PFMERGE x:a x:b",
        "ZUNIONSTORE x:a 2 x:b x:c",
        "EVAL x 2 x:a x:b",
        "SDIFF x:a x:b",
        "RPOPLPUSH x:a x:b",
        "ZINTER 2 x:a x:b",
        "LCS x:a x:b",
        "XREAD STREAMS x:a x:b 0 0",
    ] {
        assert_eq!(c.line(line), expected, "{line}");
    }
    assert_eq!(c.line("MSETNX {x}:a 1 {x}:b 2"), b":1\r\n");
    assert_eq!(c.line("DEL {x}:a {x}:b"), b":2\r\n");
}

#[test]
fn hash_tags_decide_the_slot_as_the_cluster_says() {
    let mut c = client();
    // (key, what of it is hashed): pairs in one slot may be renamed, so the node confirms each.
    for (key, hashed) in [
        ("{}x", "{}x"),
        ("foo{}{bar}", "foo{}{bar}"),
        ("foo{{bar}}zap", "{bar"),
        ("foo{bar", "foo{bar"),
        ("foo{bar}{zap}", "bar"),
        ("{user1000}.following", "user1000"),
        ("a}b{c}", "c"),
    ] {
        // A tag in the same slot, found by its hash: a key between braces of its own.
        let same: String = tags_where(|s| s == slot(hashed)).next().unwrap();
        c.call(&["DEL", &same]);
        assert_eq!(c.call(&["SET", key, "v"]), b"+OK\r\n", "{key}");
        assert_eq!(c.call(&["RENAME", key, &same]), b"+OK\r\n", "{key}");
        assert_eq!(c.call(&["GETDEL", &same]), b"$1\r\nv\r\n", "{key}");
    }
}

#[test]
fn an_error_of_a_node_is_passed_on_and_the_rest_of_the_pipeline_goes_on() {
    let mut c = client();
    c.send(
        &[request(&["SET", "err:s", "x"]), request(&["INCR", "err:s"]), request(&["GET", "err:s"])].concat(),
    );
    assert_eq!(c.frame(), b"+OK\r\n");
    assert_eq!(c.frame(), b"-ERR value is not an integer or out of range\r\n");
    assert_eq!(c.frame(), b"$1\r\nx\r\n");
}

#[test]
fn a_value_that_looks_like_a_redirect_is_data() {
    let mut c = client();
    let value = "-MOVED 1 127.0.0.1:1\r\n";
    c.call(&["SET", "looks", value]);
    assert_eq!(text(&c.call(&["GET", "looks"])), value);
    let reply = c.call(&["EVAL", "return {ARGV[1], {err='MOVED 1 127.0.0.1:1'}}", "1", "looks", value]);
    let nested = items(&reply);
    assert_eq!(text(nested[0]), value);
    assert!(is_error(nested[1]) && text(nested[1]).starts_with("MOVED 1"), "{}", show(&reply));
}

fn bulk(value: &str) -> Vec<u8> {
    format!("${}\r\n{value}\r\n", value.len()).into_bytes()
}
