//! wrk and h2load: how they are called, and reading what they print.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::failure::{Context, Failure};
use crate::fleet::{BODY_BYTES, LARGE_BYTES, LARGE_PATH, LOCALHOST};
use crate::peers;
use crate::run::scenario::{KEPT_CONNECTIONS, STREAMS};

/// Makes wrk print its exact figures.
const WRK_SCRIPT: &str = "done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('RESULT %.0f %.0f %.0f %.0f %.1f %.1f\\n', summary.requests, summary.duration,
    summary.bytes, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
";

/// What a load generator counted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Count {
    pub operations: u64,
    pub errors: u64,
    pub seconds: f64,
    /// Median and 99th percentile, where the tool tells them.
    pub latency_us: Option<(f64, f64)>,
}

/// HTTP/1.1 on kept connections.
pub(crate) fn wrk(
    target: SocketAddr,
    path: &str,
    time: Duration,
    folder: &Path,
) -> Result<Count, Failure> {
    let script = folder.join("wrk.lua");
    fs::write(&script, WRK_SCRIPT).context(|| format!("cannot write {}", script.display()))?;
    let mut command = Command::new(tool("wrk", "wrk")?);
    command
        .args(["-t1", &format!("-c{KEPT_CONNECTIONS}")])
        .arg(format!("-d{}s", time.as_secs_f64().ceil().max(1.0)))
        .arg("-s")
        .arg(&script)
        .arg(format!("https://{LOCALHOST}:{}{path}", target.port()));
    read_wrk(&output(&mut command)?)
}

/// HTTP/2 with several streams on each connection.
pub(crate) fn h2load(target: SocketAddr, path: &str, time: Duration) -> Result<Count, Failure> {
    let mut command = Command::new(tool("h2load", "nghttp2-client")?);
    command
        .args(["-t1", &format!("-c{KEPT_CONNECTIONS}"), &format!("-m{STREAMS}")])
        .args(["--npn-list=h2", "-D", &format!("{}ms", time.as_millis())])
        .arg(format!("--connect-to={target}"))
        .arg(format!("https://{LOCALHOST}:{}{path}", target.port()));
    read_h2load(&output(&mut command)?, time)
}

/// The large file, again and again until the time is over. An operation is a MiB.
pub(crate) fn curl(target: SocketAddr, time: Duration) -> Result<Count, Failure> {
    const MIB: u64 = 1024 * 1024;
    let (mut files, mut seconds) = (0, 0.0);
    while files == 0 || seconds < time.as_secs_f64() {
        let mut command = Command::new(tool("curl", "curl")?);
        command
            .args(["--insecure", "--silent", "--show-error", "--fail", "--http1.1"])
            .args(["--output", "/dev/null", "--write-out", "%{size_download} %{time_total}"])
            .arg(format!("https://{LOCALHOST}:{}{LARGE_PATH}", target.port()));
        let text = output(&mut command)?;
        let (bytes, took) = text.split_once(' ').unwrap_or_default();
        if bytes.parse() != Ok(LARGE_BYTES) {
            return Err(Failure::new(format!("curl got {bytes} bytes of {LARGE_BYTES}")));
        }
        files += 1;
        seconds += took.trim().parse::<f64>().context(|| "curl printed no time".to_owned())?;
    }
    Ok(Count { operations: files * (LARGE_BYTES / MIB), errors: 0, seconds, latency_us: None })
}

/// The versions of the tools that are here.
pub(crate) fn versions() -> Vec<String> {
    let ask = |name: &str, argument: &str, mark: &str| {
        peers::program(name).and_then(|path| peers::first_line(&path, &[argument], mark))
    };
    let wrk = ask("wrk", "-v", "wrk")
        .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>().join(" "));
    [wrk, ask("h2load", "--version", "h2load")].into_iter().flatten().collect()
}

fn tool(name: &str, package: &str) -> Result<PathBuf, Failure> {
    let missing = || Failure::new(format!("{name} is not here: apt-get install {package}"));
    peers::program(name).ok_or_else(missing)
}

fn output(command: &mut Command) -> Result<String, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().context(|| format!("cannot start {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let reason = errors.lines().chain(text.lines()).next().unwrap_or_default();
    Err(Failure::new(format!("{name} ended with {}: {reason}", output.status)))
}

fn read_wrk(text: &str) -> Result<Count, Failure> {
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT "));
    let numbers: Vec<f64> = line
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|number| number.parse().ok())
        .collect();
    let &[requests, micros, bytes, errors, p50, p99] = numbers.as_slice() else {
        return Err(Failure::new("wrk printed no result"));
    };
    let operations = whole(requests);
    whole_bodies("wrk", operations, whole(bytes))?;
    let latency_us = Some((p50, p99));
    Ok(Count { operations, errors: whole(errors), seconds: micros / 1e6, latency_us })
}

fn read_h2load(text: &str, time: Duration) -> Result<Count, Failure> {
    let unreadable = || Failure::new("h2load printed no result");
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let requests = line("requests: ").ok_or_else(unreadable)?;
    let operations = before(requests, "succeeded").ok_or_else(unreadable)?;
    let faults = ["failed", "errored", "timeout"];
    let errors = faults.iter().filter_map(|word| before(requests, word)).sum();
    let traffic = line("traffic: ").ok_or_else(unreadable)?;
    let (_, data) = traffic.rsplit_once('(').ok_or_else(unreadable)?;
    let bytes = data.split(')').next().and_then(|number| number.parse().ok());
    whole_bodies("h2load", operations, bytes.ok_or_else(unreadable)?)?;
    Ok(Count { operations, errors, seconds: time.as_secs_f64(), latency_us: None })
}

/// The number in front of a word: `before("3 total, 2 done", "done")` is 2.
fn before(text: &str, word: &str) -> Option<u64> {
    let part = text.split(", ").find(|part| part.ends_with(word))?;
    part.split_whitespace().next()?.parse().ok()
}

/// The tools do not look at the length of a body, so their sum of bytes is looked at.
fn whole_bodies(tool: &str, operations: u64, bytes: u64) -> Result<(), Failure> {
    let body = u64::try_from(BODY_BYTES).unwrap_or(u64::MAX);
    if operations > 0 && bytes >= operations.saturating_mul(body) {
        return Ok(());
    }
    Err(Failure::new(format!("{tool} got {bytes} bytes in {operations} answers")))
}

/// wrk prints whole numbers, as floats because that is all Lua has.
fn whole(number: f64) -> u64 {
    format!("{number:.0}").parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Count, read_h2load, read_wrk};

    #[test]
    fn the_figures_of_wrk_are_read() {
        let text = "Running 1s test\nRESULT 1000 2000000 1300000 3 250.0 900.5\n";
        let expected =
            Count { operations: 1000, errors: 3, seconds: 2.0, latency_us: Some((250.0, 900.5)) };
        assert_eq!(read_wrk(text).unwrap(), expected);
        read_wrk("unable to connect").unwrap_err();
    }

    #[test]
    fn the_figures_of_h2load_are_read() {
        let text = "finished in 1.00s, 100 req/s
requests: 110 total, 120 started, 110 done, 100 succeeded, 7 failed, 2 errored, 1 timeout
status codes: 100 2xx, 0 3xx, 7 4xx, 0 5xx
traffic: 1.1MB (110300) total, 2.1KB (2100) headers (space savings 80%), 1.1MB (102400) data\n";
        let count = read_h2load(text, Duration::from_secs(1)).unwrap();
        assert_eq!((count.operations, count.errors), (100, 10));
        read_h2load("", Duration::from_secs(1)).unwrap_err();
    }

    #[test]
    fn short_bodies_are_an_error() {
        read_wrk("RESULT 1000 2000000 900000 0 1 1").unwrap_err();
        read_wrk("RESULT 0 2000000 0 0 0 0").unwrap_err();
    }
}
