//! What takes long.
fn main() {}
