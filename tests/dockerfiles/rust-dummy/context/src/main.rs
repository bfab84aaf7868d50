// prints: app is up
fn main() {}
