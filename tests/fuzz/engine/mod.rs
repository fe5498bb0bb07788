//! The engine of one worker under a list of operations: bytes of clients and of nodes in any segments, time, losses,
//! partial writes, topologies, other workers, an orderly stop. After each of them its invariants hold; clients are sent
//! whole RESP values and nodes whole requests only; and when all is over nothing is left behind.
//!
//! The first byte of the input chooses the configuration, each operation begins with a byte that says which it is.

mod words;
mod world;

use world::World;

/// Looks at one input.
pub fn check(data: &[u8]) {
    let mut input = Input(data);
    let mut world = World::new(input.byte());
    while !input.0.is_empty() {
        let operation = input.byte();
        step(&mut world, operation, &mut input);
        world.look();
    }
    world.end();
}

fn step(world: &mut World, operation: u8, input: &mut Input) {
    match operation % 20 {
        0 => world.open_client(),
        1 => {
            let (client, len) = (input.byte(), input.byte());
            world.client_sends(client, input.take(len));
        }
        2..=4 => {
            let (client, which) = (input.byte(), input.byte());
            world.client_commands(client, which, operation / 20 % 4 + 1);
        }
        5 => world.client_ends(input.byte()),
        6 => {
            let (node, len) = (input.byte(), input.byte());
            world.node_sends(node, input.take(len));
        }
        7 => {
            let (node, which) = (input.byte(), input.byte());
            world.node_replies(node, which, operation / 20 % 3 + 1);
        }
        8..=11 => world.nodes_answer(input.byte()),
        12 => world.lose_node(input.byte()),
        13 => world.pass(1 << (input.byte() % 25)),
        14 => world.topology(input.byte()),
        15 => drop(world.flush(Some(1 << (input.byte() % 17)))),
        16 => world.connect(input.byte()),
        17 => world.other_worker(input.byte()),
        18 if operation > 240 => world.drain(),
        _ => drop(world.turn()),
    }
}

/// What is left of the input; ends in zeros.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    fn take(&mut self, len: u8) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(self.0.len().min(usize::from(len)));
        self.0 = rest;
        taken
    }
}
