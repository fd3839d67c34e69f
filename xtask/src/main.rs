//! Work on the repository itself: `cargo run -p xtask -- tidy`, `cargo run -p xtask -- count`.

mod code;
mod count;
mod count_server;
mod tidy;

use std::{path::PathBuf, process::ExitCode};

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "a command speaks to its terminal")]
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["tidy"] => {
            let problems = tidy::problems(&root());
            for problem in &problems {
                println!("{problem}");
            }
            match problems.len() {
                0 => ExitCode::SUCCESS,
                number => {
                    eprintln!("{number} untidy");
                    ExitCode::FAILURE
                }
            }
        }
        ["count", rest @ ..] if matches!(rest, [] | ["--save"]) => {
            match count::run(&root(), !rest.is_empty()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("xtask count: {error}");
                    ExitCode::FAILURE
                }
            }
        }
        _ => {
            eprintln!("usage: cargo run -p xtask -- tidy | count [--save]");
            ExitCode::from(2)
        }
    }
}

/// The root of the repository.
fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map(PathBuf::from).unwrap_or(own)
}
