//! All workers of a proxy without sockets, and what travels between them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use redis_cluster_proxy::base::arena::Key;
use redis_cluster_proxy::base::time::Time;
use redis_cluster_proxy::cluster::{NodeInfo, ShardInfo, SlotMap, SLOTS};
use redis_cluster_proxy::config::Config;
use redis_cluster_proxy::proxy::{
    Ask, Backend, Client, Common, Effect, Engine, Host, Intake, Question, Surroundings,
};

/// All workers of a proxy, and what travels between them.
pub struct Proxy {
    pub engines: Vec<Engine>,
    pub now: Time,
    /// Workers that get no messages.
    pub dead: Vec<usize>,
    /// Backends that engines want connected, by worker.
    pub connects: Vec<(usize, Key<Backend>)>,
    pub closed: Vec<(usize, Key<Client>)>,
    opened: u16,
}

/// A client and its worker.
pub type Who = (usize, Key<Client>);

impl Proxy {
    pub fn new(workers: usize) -> Self {
        Self::with(workers, Config::for_tests())
    }

    pub fn with(workers: usize, config: Config) -> Self {
        let now = Time::from_micros(5_000_000);
        let config = Arc::new(config);
        let common = Common::default();
        let engine = |worker| {
            let around =
                Surroundings { worker, workers, seed: 1, local_ip: None, started: now, port: 6379, pid: 7 };
            let mut engine = Engine::new(Arc::clone(&config), around, now);
            engine.set_wall(1_700_000_000_000_000);
            engine.set_common(&common);
            engine.topology(&one_primary());
            engine
        };
        let engines = (0..workers).map(engine).collect();
        Proxy { engines, now, dead: Vec::new(), connects: Vec::new(), closed: Vec::new(), opened: 0 }
    }

    pub fn client(&mut self, worker: usize) -> Who {
        self.opened += 1;
        let key = self.engines[worker].client_opened(SocketAddr::from(([10, 0, 0, 1], 1000 + self.opened)));
        self.engines[worker].client_reached(key, SocketAddr::from(([10, 0, 0, 9], 6379)), 30);
        (worker, key)
    }

    /// A client sends inline commands; what of them was taken in.
    pub fn send(&mut self, who: Who, lines: &str) -> (usize, Intake) {
        let text = lines.replace('\n', "\r\n") + "\r\n";
        let taken = self.engines[who.0].client_bytes(who.1, text.as_bytes());
        self.deliver();
        taken
    }

    /// A client sends commands, all of which are taken in; what it gets, once all is quiet.
    pub fn says(&mut self, who: Who, lines: &str) -> String {
        let (consumed, _) = self.send(who, lines);
        assert_eq!(consumed, lines.len() + 2 + lines.matches('\n').count(), "{lines} was not all taken in");
        self.gets(who)
    }

    pub fn gets(&mut self, who: Who) -> String {
        let output = self.engines[who.0].client_output(who.1).to_vec();
        self.engines[who.0].client_written(who.1, output.len());
        self.deliver();
        String::from_utf8_lossy(&output).into_owned()
    }

    pub fn wait(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.engines.iter_mut().for_each(|e| e.tick(self.now));
        self.deliver();
    }

    /// Carries out effects until there are none.
    pub fn deliver(&mut self) {
        loop {
            let mut all = Vec::new();
            for (worker, engine) in self.engines.iter_mut().enumerate() {
                let mut effects = Vec::new();
                engine.take_effects(&mut effects);
                all.extend(effects.into_iter().map(|e| (worker, e)));
                engine.check_invariants();
            }
            if all.is_empty() {
                return;
            }
            for (worker, effect) in all {
                self.effect(worker, effect);
            }
        }
    }

    fn effect(&mut self, worker: usize, effect: Effect) {
        match effect {
            Effect::Ask(ask, question) => self.ask(worker, ask, &question),
            Effect::Show(to, lines) => self.engines[to].watched(&lines),
            Effect::Connect(key, _) => self.connects.push((worker, key)),
            Effect::CloseClient(key) => self.closed.push((worker, key)),
            Effect::CloseBackend(_) | Effect::ResetBackend(_) | Effect::Refresh(_) => {}
        }
    }

    fn ask(&mut self, from: usize, ask: Key<Ask>, question: &Question) {
        if question.wants_host() {
            let host = Host { run: 1, executable: "/bin/proxy".into(), resident_bytes: 9, ..Host::default() };
            self.engines[from].set_host(host);
            let answer = self.engines[from].question(question);
            self.engines[from].answered(ask, answer);
        }
        for to in (0..self.engines.len()).filter(|w| *w != from) {
            if !self.dead.contains(&to) {
                let answer = self.engines[to].question(question);
                self.engines[from].answered(ask, answer);
            }
        }
    }

    /// The backend that was asked for last, connected and greeted.
    pub fn backend(&mut self) -> (usize, Key<Backend>) {
        let (worker, key) = self.connects.pop().expect("a backend to connect");
        let engine = &mut self.engines[worker];
        engine.backend_connected(key);
        engine.backend_written(key, engine.backend_output(key).len());
        engine.backend_bytes(key, b"+OK\r\n");
        (worker, key)
    }

    /// A backend for messages is connected and greeted.
    pub fn greet_listener(&mut self, (worker, key): (usize, Key<Backend>)) {
        let engine = &mut self.engines[worker];
        engine.backend_connected(key);
        engine.backend_written(key, engine.backend_output(key).len());
        engine.backend_bytes(key, b"%0\r\n+OK\r\n");
        engine.backend_written(key, engine.backend_output(key).len());
    }

    pub fn node_gets(&mut self, (worker, key): (usize, Key<Backend>)) -> String {
        let engine = &mut self.engines[worker];
        let output = engine.backend_output(key).to_vec();
        engine.backend_written(key, output.len());
        String::from_utf8(output).unwrap()
    }

    pub fn node_says(&mut self, (worker, key): (usize, Key<Backend>), text: &str) {
        assert_eq!(self.engines[worker].backend_bytes(key, text.as_bytes()), text.len());
        self.deliver();
    }

    /// Nothing is left of questions, monitors and pauses.
    pub fn assert_at_rest(&self) {
        for engine in &self.engines {
            let h = engine.holdings();
            assert_eq!((h.asks, h.monitors, h.held, h.timers), (0, 0, 0, 0), "{h:?}");
        }
    }
}

fn one_primary() -> SlotMap {
    let addr = SocketAddr::from(([127, 0, 0, 1], 7001));
    let mut map = SlotMap::empty();
    map.nodes.push(NodeInfo { id: "a".into(), addr, name: addr.to_string() });
    map.shards.push(ShardInfo { primary: 0, replicas: Vec::new() });
    map.slots = vec![0; SLOTS];
    map
}

/// The ids in a CLIENT LIST.
pub fn ids(list: &str) -> Vec<u64> {
    list.split("id=").skip(1).map(|l| l.split(' ').next().unwrap().parse().unwrap()).collect()
}

pub fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.split([' ', '\r', '\n']).find_map(|f| f.strip_prefix(name)?.strip_prefix(['=', ':']))
}
