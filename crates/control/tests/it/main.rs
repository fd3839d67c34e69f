//! Tests of the control plane: real files, a real server, a real disk that is full.

mod crash;
mod edited;
mod failing;
mod made;
mod setup;
