//! Ring 3: the engine of one worker, sans-I/O. Knows no socket, clock, thread or random source.
