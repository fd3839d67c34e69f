//! What the servers hand requests on to: nginx with the files, an echo behind an upgrade, and a
//! FastCGI program. They run on the client's core and are not counted.

use std::fs;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::poll::Poll;
use crate::failure::{Context, Failure};
use crate::fleet::{BODY_BYTES, Fleet};
use crate::peers::{free_port, program};

/// An nginx that does not listen by then is given up.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the upstreams listen, on 127.0.0.1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// nginx with the files of the fleet.
    pub files: u16,
    /// Answers every request with 101 and then sends back what it gets.
    pub echo: u16,
    /// A FastCGI program with a content of [`BODY_BYTES`].
    pub fastcgi: u16,
}

/// Upstreams that run. Dropping them ends nginx; the threads end with the program.
pub(crate) struct Upstreams {
    pub ports: Ports,
    nginx: Child,
}

impl Upstreams {
    /// Starts all of them, on the core of the calling thread.
    pub(crate) fn start(fleet: &Fleet) -> Result<Self, Failure> {
        let nginx = program("nginx")
            .ok_or_else(|| Failure::new("nginx is not here: apt-get install nginx"))?;
        let files = free_port()?;
        let folder = fleet.folder.join("upstream");
        fs::create_dir_all(&folder).context(|| format!("cannot create {}", folder.display()))?;
        let file = folder.join("nginx.conf");
        fs::write(&file, nginx_configuration(files, &fleet.www()))
            .context(|| format!("cannot write {}", file.display()))?;
        let nginx = Command::new(nginx)
            .arg("-p")
            .arg(&folder)
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(folder.join("error.log"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context(|| "cannot start nginx as an upstream".to_owned())?;
        let ports = Ports { files, echo: echo()?, fastcgi: serve(fastcgi)? };
        let upstreams = Self { ports, nginx };
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, files)).is_err() {
            if started.elapsed() > START_TIMEOUT {
                return Err(Failure::new("nginx does not listen as an upstream"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(upstreams)
    }
}

impl Drop for Upstreams {
    fn drop(&mut self) {
        // It runs in the foreground with one process that matters to nobody any more.
        let _gone = self.nginx.kill();
        let _status = self.nginx.wait();
    }
}

fn nginx_configuration(port: u16, www: &Path) -> String {
    format!(
        "master_process off;
daemon off;
pid nginx.pid;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    default_type application/octet-stream;
    keepalive_requests 1000000000;
    keepalive_timeout 600s;
    open_file_cache max=100 inactive=60s;
    open_file_cache_valid 60s;
    server {{ listen 127.0.0.1:{port}; root {}; }}
}}
",
        www.display()
    )
}

/// Listens, and answers each connection in a thread of its own.
fn serve(answer: fn(TcpStream) -> io::Result<()>) -> Result<u16, Failure> {
    let what = || "no free port".to_owned();
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).context(what)?;
    let port = listener.local_addr().context(what)?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A connection that breaks off concerns nobody else.
            thread::spawn(move || answer(stream));
        }
    });
    Ok(port)
}

/// Listens, agrees to any upgrade and sends back what it gets, frames and all. In one thread: with
/// one for each connection the client's core would be what is measured.
fn echo() -> Result<u16, Failure> {
    let what = || "no free port".to_owned();
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).context(what)?;
    let port = listener.local_addr().context(what)?.port();
    listener.set_nonblocking(true).context(what)?;
    thread::spawn(move || {
        let mut poll = Poll::new()?;
        poll.add(&listener, 0)?;
        let mut streams: Vec<Option<TcpStream>> = Vec::new();
        let mut bytes = [0; 16 * 1024];
        loop {
            for slot in poll.wait(Duration::from_secs(1))? {
                let Some(place) = slot.checked_sub(1) else {
                    for stream in std::iter::from_fn(|| listener.accept().ok()) {
                        // A connection that breaks off concerns nobody else.
                        let Ok(stream) = upgraded(stream.0) else { continue };
                        poll.add(&stream, streams.len() + 1)?;
                        streams.push(Some(stream));
                    }
                    continue;
                };
                let Some(own) = streams.get_mut(place) else { continue };
                if own.as_mut().is_some_and(|stream| sent_back(stream, &mut bytes).is_err()) {
                    *own = None;
                }
            }
        }
        #[allow(unreachable_code, reason = "the type of what ends it")]
        Ok::<(), Failure>(())
    });
    Ok(port)
}

/// Reads the head of a request and agrees to its upgrade.
fn upgraded(mut stream: TcpStream) -> io::Result<TcpStream> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(START_TIMEOUT))?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend_from_slice(&byte);
    }
    stream.write_all(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
          Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    )?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// Sends back all that has come. Fails at the end of the connection.
fn sent_back(stream: &mut TcpStream, bytes: &mut [u8]) -> io::Result<()> {
    loop {
        match stream.read(bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => stream.write_all(bytes.get(..read).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Record types of FastCGI 1.0 (section 8 of its specification).
const END_REQUEST: u8 = 3;
const STDIN: u8 = 5;
const STDOUT: u8 = 6;

/// Answers every request when its content has ended.
fn fastcgi(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut writer = stream;
    let content = "x".repeat(BODY_BYTES);
    let page = format!("Content-Type: text/plain\r\nContent-Length: {BODY_BYTES}\r\n\r\n{content}");
    let mut answer = Vec::new();
    loop {
        let mut head = [0; 8];
        reader.read_exact(&mut head)?;
        let [_, kind, id_high, id_low, length_high, length_low, padding, _] = head;
        let length = u64::from(u16::from_be_bytes([length_high, length_low]));
        io::copy(&mut (&mut reader).take(length + u64::from(padding)), &mut io::sink())?;
        if kind != STDIN || length > 0 {
            continue;
        }
        answer.clear();
        let mut record = |kind: u8, content: &[u8]| {
            let [high, low] = u16::try_from(content.len()).unwrap_or(0).to_be_bytes();
            answer.extend_from_slice(&[1, kind, id_high, id_low, high, low, 0, 0]);
            answer.extend_from_slice(content);
        };
        record(STDOUT, page.as_bytes());
        record(STDOUT, b"");
        record(END_REQUEST, &[0; 8]);
        writer.write_all(&answer)?;
    }
}
