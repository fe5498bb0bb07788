//! The `redis` crate: plain commands and pipelines over one synchronous connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use redis::{Commands, Connection, RedisResult};

use crate::support::{wait_until, Cluster, Proxy};
use crate::SHARE;

/// One round of varied operations; every result is checked.
fn round(c: &mut Connection, who: &str, n: u64) -> RedisResult<()> {
    let key = |kind: &str| format!("rust:{who}:{kind}:{}", n % 50);
    let () = c.set(key("s"), n)?;
    assert_eq!(c.get::<_, u64>(key("s"))?, n);
    assert_eq!(c.incr::<_, _, u64>(key("s"), 2)?, n + 2);
    let () = c.set(key("bytes"), &b"\x00\xff\r\n"[..])?;
    assert_eq!(c.get::<_, Vec<u8>>(key("bytes"))?, b"\x00\xff\r\n");
    let () = c.hset_multiple(key("h"), &[("a", n), ("b", n + 1)])?;
    let hash: HashMap<String, u64> = c.hgetall(key("h"))?;
    assert_eq!(hash, HashMap::from([("a".to_string(), n), ("b".to_string(), n + 1)]));
    let () = c.mset(&[(key("m1"), n), (key("m2"), n), (key("m3"), n)])?;
    let several: Vec<Option<u64>> = c.mget(&[key("m1"), key("nothing"), key("m2"), key("m3")])?;
    assert_eq!(several, [Some(n), None, Some(n), Some(n)]);
    assert_eq!(c.del::<_, u64>(&[key("m1"), key("m2"), key("nothing")])?, 2);
    pipeline(c, who, n)?;
    let error = c.lpush::<_, _, u64>(key("s"), 1).expect_err("a string is no list");
    assert_eq!(error.code(), Some("WRONGTYPE"), "{error}");
    Ok(())
}

fn pipeline(c: &mut Connection, who: &str, n: u64) -> RedisResult<()> {
    let mut pipe = redis::pipe();
    let keys: Vec<String> = (0..20).map(|i| format!("rust:{who}:pipe:{i}")).collect();
    for key in &keys {
        pipe.set(key, n).ignore().get(key);
    }
    let values: Vec<u64> = pipe.query(c)?;
    assert_eq!(values, [n; 20]);
    Ok(())
}

fn work(url: &str, who: &str, stop: &AtomicBool, done: &AtomicU64) -> u64 {
    let mut c =
        redis::Client::open(url).unwrap().get_connection_with_timeout(Duration::from_secs(5)).unwrap();
    let mut n = 0;
    while !stop.load(Ordering::Relaxed) {
        round(&mut c, who, n).unwrap_or_else(|e| panic!("{who}, round {n}: {e}"));
        n += 1;
        done.fetch_add(50, Ordering::Relaxed);
    }
    n
}

#[test]
fn the_redis_crate_with_both_protocols() {
    let cluster = Cluster::start();
    let mut proxy = Proxy::start(&cluster, &["-max-procs", "2"]);
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let threads: Vec<_> = ["resp2", "resp3"]
        .map(|protocol| {
            let url = format!("redis://127.0.0.1:{}/0?protocol={protocol}", proxy.port);
            let (stop, done) = (stop.clone(), done.clone());
            thread::spawn(move || work(&url, protocol, &stop, &done))
        })
        .into();
    let wait_more = || {
        let goal = done.load(Ordering::Relaxed) + 4 * SHARE;
        let ended = || threads.iter().any(|t| t.is_finished());
        wait_until("more operations", Duration::from_secs(60), || {
            done.load(Ordering::Relaxed) >= goal || ended()
        });
    };
    wait_more();
    cluster.reshard(0..60, 1);
    wait_more();
    cluster.failover(cluster.replicas_of(2)[0]);
    wait_more();
    stop.store(true, Ordering::Relaxed);
    let rounds: u64 = threads.into_iter().map(|t| t.join().expect("all rounds pass")).sum();
    println!("redis crate: {rounds} passed, 0 failed");
    proxy.assert_alive();
}
