//! Which role is this process? The composition root: the only place where client and engine meet.

fn main() {}
