// prints: worker waits
fn main() {}
