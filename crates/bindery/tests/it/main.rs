//! The commands as they are typed, and what they print: one test program, a module for each.

mod demo;
mod explain;
mod netsh;
mod probe;
mod program;
