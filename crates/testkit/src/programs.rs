//! Programs of the system that tests run as strangers: `curl`, `openssl`. Where one is missing a
//! test says so and ends; where it must not be missing (`CI` is set) the test fails.

use std::{
    io,
    process::{Output, Stdio},
};

use tokio::{io::AsyncWriteExt as _, process::Command};

use crate::soon;

/// What a program said.
#[derive(Clone, Debug)]
pub struct Said {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// Its output.
    pub stdout: String,
    /// What it said beside it.
    pub stderr: String,
}

impl Said {
    /// Whether it succeeded.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }
}

/// Runs a program with these arguments and this input. `None`, with a line that says so, when it
/// is not installed: `let Some(said) = run("curl", &[…], "").await else { return };`
///
/// # Panics
///
/// When it is not installed and `CI` is set, or when it hangs.
#[allow(clippy::print_stderr, reason = "a skipped test says so where tests speak")]
pub async fn run(program: &str, arguments: &[&str], input: &str) -> Option<Said> {
    match soon(program, output(program, arguments, input)).await {
        Ok(output) => Some(Said {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !must_not_skip() => {
            eprintln!("skipped: {program} is not installed");
            None
        }
        Err(error) => panic!("{program} cannot be run: {error}"),
    }
}

async fn output(program: &str, arguments: &[&str], input: &str) -> io::Result<Output> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that needs no input may be gone already; its status tells.
        drop(stdin.write_all(input.as_bytes()).await);
    }
    child.wait_with_output().await
}

/// Whether a missing program is a failure.
#[must_use]
pub fn must_not_skip() -> bool {
    #[allow(clippy::disallowed_methods, reason = "where tests run is for the environment to say")]
    std::env::var("CI").is_ok()
}
