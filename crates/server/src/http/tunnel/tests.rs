use bindery_model::site::SiteLimits;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

const IDLE: Duration = Duration::from_secs(8);

/// A client and an upstream with a tunnel between them, whose pipes hold so many bytes.
fn tunnel(early: &'static [u8], pipe: usize) -> (DuplexStream, DuplexStream, Ended) {
    tunnel_of(early, pipe, None)
}

/// One of a site.
fn tunnel_of(
    early: &'static [u8],
    pipe: usize,
    site: Option<&LimitedSite>,
) -> (DuplexStream, DuplexStream, Ended) {
    let (client, near) = duplex(pipe);
    let (upstream, far) = duplex(pipe);
    let mut tunnel = Tunnel::new(TokioIo::new(far), Bytes::from_static(early), IDLE, ());
    if let Some(site) = site {
        tunnel.limit(site);
    }
    let mut near = TokioIo::new(near);
    (client, upstream, tokio::spawn(async move { carry(&mut tunnel, &mut near).await }))
}

type Ended = tokio::task::JoinHandle<Result<(), Broken>>;

async fn said(stream: &mut DuplexStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn what_one_side_says_the_other_hears_the_early_first() {
    let (mut client, mut upstream, ended) = tunnel(b"early ", 64 * 1024);
    upstream.write_all(b"bird").await.unwrap();
    client.write_all(b"hello").await.unwrap();
    assert_eq!(said(&mut client, 10).await, b"early bird");
    assert_eq!(said(&mut upstream, 5).await, b"hello");
    drop((client, upstream));
    ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_side_that_has_ended_still_hears_the_other() {
    let (mut client, mut upstream, ended) = tunnel(b"", 1024);
    client.write_all(b"the question").await.unwrap();
    client.shutdown().await.unwrap();
    let mut heard = Vec::new();
    upstream.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"the question");
    upstream.write_all(b"the answer").await.unwrap();
    upstream.shutdown().await.unwrap();
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"the answer");
    ended.await.unwrap().unwrap();
}

#[tokio::test]
async fn many_bytes_pass_through_small_pipes_both_ways_in_order() {
    let content: Vec<u8> = (0..1_000_000_u32).map(|at| (at % 251) as u8).collect();
    let (mut client, mut upstream, ended) = tunnel(b"", 1000);
    let all = content.clone();
    let echo = tokio::spawn(async move {
        let mut chunk = [0; 777];
        loop {
            match upstream.read(&mut chunk).await.unwrap() {
                0 => return upstream.shutdown().await.unwrap(),
                read => upstream.write_all(&chunk[..read]).await.unwrap(),
            }
        }
    });
    let (mut from, mut to) = tokio::io::split(&mut client);
    let writing = async {
        to.write_all(&all).await.unwrap();
        to.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let reading = async { from.read_to_end(&mut heard).await.unwrap() };
    tokio::join!(writing, reading);
    assert!(heard == content);
    echo.await.unwrap();
    ended.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_does_not_listen_is_not_read_for() {
    const PIPE: usize = 1024;
    let (client, mut upstream, ended) = tunnel(b"", PIPE);
    let mut taken = 0;
    let pushing = async {
        loop {
            taken += upstream.write(&[7; 512]).await.unwrap();
        }
    };
    assert!(tokio::time::timeout(IDLE / 2, pushing).await.is_err());
    assert!(taken <= 2 * PIPE + TUNNEL_READ_BYTES, "{taken}");
    // And not for ever.
    assert!(matches!(ended.await.unwrap(), Err(Broken::Idle)));
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_it_and_a_word_from_either_side_is_no_silence() {
    let (mut client, mut upstream, ended) = tunnel(b"", 1024);
    let began = Instant::now();
    for _ in 0..4 {
        sleep(IDLE * 3 / 4).await;
        client.write_all(b"a").await.unwrap();
        sleep(IDLE * 3 / 4).await;
        upstream.write_all(b"b").await.unwrap();
    }
    let spoke = began.elapsed();
    assert!(matches!(ended.await.unwrap(), Err(Broken::Idle)));
    let silence = began.elapsed() - spoke;
    assert!(silence >= IDLE && silence <= IDLE * 3 / 2, "{silence:?}");
}

/// Says something and breaks.
struct Breaks(&'static [u8]);

impl Read for Breaks {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let said = std::mem::take(&mut self.0);
        buf.put_slice(said);
        Poll::Ready(if said.is_empty() {
            Err(io::ErrorKind::ConnectionReset.into())
        } else {
            Ok(())
        })
    }
}

impl Write for Breaks {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn what_a_side_said_before_it_broke_is_heard() {
    let (mut client, near) = duplex(1024);
    let mut tunnel = Tunnel::new(Breaks(b"last words"), Bytes::new(), IDLE, ());
    let mut near = TokioIo::new(near);
    assert!(matches!(carry(&mut tunnel, &mut near).await, Err(Broken::Upstream(_))));
    assert_eq!(said(&mut client, 10).await, b"last words");

    let (mut upstream, far) = duplex(1024);
    let mut tunnel = Tunnel::new(TokioIo::new(far), Bytes::new(), IDLE, ());
    assert!(matches!(carry(&mut tunnel, &mut Breaks(b"last words")).await, Err(Broken::Client(_))));
    assert_eq!(said(&mut upstream, 10).await, b"last words");
}

#[tokio::test]
async fn the_guard_is_held_as_long_as_the_tunnel() {
    let guard = Arc::new(());
    let tunnel = Tunnel::new(TokioIo::new(duplex(1).0), Bytes::new(), IDLE, Arc::clone(&guard));
    let mut response = Response::new(Body::Empty);
    tunnel.attach(&mut response);
    assert_eq!(Arc::strong_count(&guard), 2);
    let copy = response.extensions().clone();
    let tunnel = Tunnel::attached_to(response.extensions_mut()).unwrap();
    assert!(Tunnel::attached_to(response.extensions_mut()).is_none());
    drop(copy);
    assert_eq!(Arc::strong_count(&guard), 2);
    drop(tunnel);
    assert_eq!(Arc::strong_count(&guard), 1);
}

fn paced(bytes_per_second: u64) -> LimitedSite {
    let bytes_per_second_max = Some(bytes_per_second);
    LimitedSite::of(SiteLimits { requests_max: None, bytes_per_second_max })
}

/// Says so much to the other side and ends, while that listens; gives how long it took.
async fn told(from: &mut DuplexStream, to: &mut DuplexStream, bytes: usize) -> Duration {
    let began = Instant::now();
    let all = vec![7; bytes];
    let writing = async {
        from.write_all(&all).await.unwrap();
        from.shutdown().await.unwrap();
    };
    let mut heard = Vec::new();
    let (read, ()) = tokio::join!(to.read_to_end(&mut heard), writing);
    read.unwrap();
    assert!(heard == all, "{}", heard.len());
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn what_clients_are_told_in_tunnels_leaves_at_the_pace_of_their_site() {
    let site = paced(100_000);
    let (mut client, mut upstream, ended) = tunnel_of(b"", 64 * 1024, Some(&site));
    let (mut other, mut its, _ended) = tunnel_of(b"", 64 * 1024, Some(&site));
    let (one, two) = tokio::join!(
        told(&mut upstream, &mut client, 300_000),
        told(&mut its, &mut other, 300_000)
    );
    for took in [one, two].map(|took| took.as_secs_f64()) {
        assert!((5.0..=6.2).contains(&took), "{took}: both share the pace");
    }
    // What they say themselves is nothing that the site sends.
    assert_eq!(told(&mut client, &mut upstream, 300_000).await, Duration::ZERO);
    ended.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_short_word_does_not_wait_for_a_long_one_to_end() {
    let site = paced(100_000);
    let (mut client, mut upstream, _ended) = tunnel_of(b"", 64 * 1024, Some(&site));
    let long = tokio::spawn(async move { told(&mut upstream, &mut client, 1_000_000).await });
    sleep(Duration::from_secs(1)).await;
    let (mut client, mut upstream, _ended) = tunnel_of(b"early", 64 * 1024, Some(&site));
    let began = Instant::now();
    upstream.write_all(b" word").await.unwrap();
    assert_eq!(said(&mut client, 10).await, b"early word");
    assert!(began.elapsed() < Duration::from_millis(600), "{:?}", began.elapsed());
    assert!(long.await.unwrap() > Duration::from_secs(9));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_the_pace_of_its_site_is_not_idle_and_who_does_not_listen_is() {
    // A piece of each in turn, so that each waits for twice as long as it may be silent.
    let site = paced(100);
    let mut telling = Vec::new();
    for _ in 0..4 {
        let (mut client, mut upstream, _ended) = tunnel_of(b"", 1024, Some(&site));
        telling.push(tokio::spawn(async move { told(&mut upstream, &mut client, 1500).await }));
    }
    for one in telling {
        let took = one.await.unwrap();
        assert!(took > 3 * IDLE, "{took:?}");
    }
    let site = paced(100_000);
    let (client, mut upstream, ended) = tunnel_of(b"", 1024, Some(&site));
    upstream.write_all(&[7; 1024]).await.unwrap();
    upstream.write_all(&[7; 1024]).await.unwrap();
    assert!(matches!(ended.await.unwrap(), Err(Broken::Idle)));
    drop(client);
}
