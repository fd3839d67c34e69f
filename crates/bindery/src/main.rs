//! bindery

fn main() {}
