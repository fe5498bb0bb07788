//! The reactor's part in questions to all workers: carries them and their answers, and looks at the host. Knows nothing
//! of what they mean.

use std::sync::Arc;

use super::Reactor;
use crate::base::arena::Key;
use crate::net::host;
use crate::net::mesh::Message;
use crate::proxy::{Answer, Ask, Question};

impl Reactor {
    /// A question of this worker's engine to all others.
    pub(super) fn ask(&mut self, ask: Key<Ask>, question: &Arc<Question>) {
        self.engine.set_wall(self.wall_us());
        if question.wants_host() {
            self.engine.set_host(host::look(self.wall_us(), self.parts.run));
            let answer = self.engine.question(question);
            self.engine.answered(ask, answer);
        }
        let from = self.parts.me;
        for (number, worker) in self.parts.workers.iter().enumerate().filter(|(n, _)| *n != from) {
            let message = Message::Ask { from, ask, question: Arc::clone(question) };
            if !worker.send(message) {
                log::debug!("worker {number} has ended and is not asked");
                self.engine.answered(ask, Answer::Done);
            }
        }
    }

    /// A question of another worker about this one.
    pub(super) fn answer(&mut self, from: usize, ask: Key<Ask>, question: &Question) {
        self.engine.set_wall(self.wall_us());
        let answer = self.engine.question(question);
        // If who asked has ended, so have its clients.
        self.parts.workers[from].send(Message::Answer(ask, answer));
    }

    /// Unix time of the origin of the engine's time.
    pub(super) fn wall_us(&self) -> u64 {
        self.clock.wall_micros().saturating_sub(self.clock.now().as_micros())
    }
}
