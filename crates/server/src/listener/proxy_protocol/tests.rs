use proptest::{
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use proxy_header::Tlv;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

fn addresses_of(source: &str, destination: &str) -> Addresses {
    Addresses { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
}

fn encoded(addresses: Addresses, v2: bool) -> Vec<u8> {
    let header =
        ProxyHeader::with_address(ProxiedAddress::stream(addresses.source, addresses.destination));
    let mut bytes = Vec::new();
    if v2 { header.encode_v2(&mut bytes) } else { header.encode_v1(&mut bytes) }.unwrap();
    bytes
}

fn reason(bytes: &[u8]) -> String {
    parse(bytes).unwrap_err().to_string()
}

#[test]
fn a_header_of_either_version_gives_its_addresses_and_its_length() {
    let four = addresses_of("203.0.113.9:40000", "192.0.2.1:443");
    let six = addresses_of("[2001:db8::9]:40000", "[2001:db8::1]:443");
    for addresses in [four, six] {
        for v2 in [false, true] {
            let header = encoded(addresses, v2);
            let mut bytes = header.clone();
            bytes.extend_from_slice(b"\x16\x03\x01 the hello");
            let whole = Parsed::Whole { addresses: Some(addresses), bytes: header.len() };
            assert_eq!(parse(&bytes).unwrap(), whole);
            for end in 0..header.len() {
                assert_eq!(parse(&bytes[..end]).unwrap(), Parsed::Part, "{end}");
            }
        }
    }
}

#[test]
fn who_speaks_for_itself_has_no_addresses_but_those_of_the_socket() {
    let local = |bytes: &[u8]| {
        assert_eq!(parse(bytes).unwrap(), Parsed::Whole { addresses: None, bytes: bytes.len() });
    };
    local(b"PROXY UNKNOWN\r\n");
    local(b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n");
    local(b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00");
    // Whatever the family says.
    local(b"\r\n\r\n\0\r\nQUIT\n\x20\x77\x00\x03abc");
    // A Unix socket: 216 bytes of two paths.
    let mut unix = b"\r\n\r\n\0\r\nQUIT\n\x21\x31\x00\xd8".to_vec();
    unix.extend([0; 216]);
    local(&unix);
}

#[test]
fn further_fields_are_passed_over() {
    let addresses = addresses_of("203.0.113.9:40000", "192.0.2.1:443");
    let proxied = ProxiedAddress::stream(addresses.source, addresses.destination);
    let tlvs = [Tlv::Authority("a.example".into()), Tlv::Noop(300)];
    let mut bytes = Vec::new();
    ProxyHeader::with_tlvs(Some(proxied), tlvs).encode_v2(&mut bytes).unwrap();
    let whole = Parsed::Whole { addresses: Some(addresses), bytes: bytes.len() };
    bytes.extend_from_slice(b"rest");
    assert_eq!(parse(&bytes).unwrap(), whole);
}

#[test]
fn what_is_no_header_is_told_from_the_first_byte_on() {
    for bytes in [
        &b"\x16\x03\x01"[..],
        b"GET / HTTP/1.1\r\n",
        b"PRI * HTTP/2.0",
        b"PROXYxTCP4 1.2.3.4 1.2.3.4 1 1\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 1\n",
        b"PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        b"PROXY TCP4 1.2.3.4 1.2.3 1 1\r\n",
        b"PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
        b"PROXY UDP4 1.2.3.4 1.2.3.4 1 1\r\n",
        b"PROXY \r\n",
        b"\r\n\r\nGET / HTTP/1.1",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x00",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x01a",
    ] {
        assert_eq!(reason(bytes), HeaderError::NotOne.to_string(), "{}", bytes.escape_ascii());
    }
}

#[test]
fn a_header_may_only_be_so_long() {
    let mut line = b"PROXY UNKNOWN ".to_vec();
    line.resize(PROXY_HEADER_V1_BYTES_MAX - 2, b'x');
    assert_eq!(parse(&line).unwrap(), Parsed::Part);
    let mut ended = line.clone();
    ended.extend_from_slice(b"\r\n");
    let whole = Parsed::Whole { addresses: None, bytes: PROXY_HEADER_V1_BYTES_MAX };
    assert_eq!(parse(&ended).unwrap(), whole);
    line.extend_from_slice(b"x\r\n");
    assert_eq!(reason(&line), HeaderError::TooLong.to_string());

    let length = u16::try_from(PROXY_HEADER_BYTES_MAX - V2_FIXED_BYTES).unwrap();
    for (length, fits) in [(length, true), (length + 1, false), (u16::MAX, false)] {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
        bytes.extend_from_slice(&length.to_be_bytes());
        assert_eq!(parse(&bytes).is_ok(), fits);
    }
}

fn runner() -> TestRunner {
    let config = Config { cases: 2000, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]))
}

#[test]
fn any_addresses_come_back_from_any_cut() {
    let port = any::<u16>;
    let four = (any::<[u8; 4]>(), any::<[u8; 4]>(), port(), port())
        .prop_map(|(a, b, c, d)| ((a, c).into(), (b, d).into()));
    // Not those that are IPv4 in another dress: they come back as IPv4.
    let word = || {
        any::<[u16; 8]>().prop_map(|mut words| {
            words[0] |= 0x2000;
            words
        })
    };
    let six =
        (word(), word(), port(), port()).prop_map(|(a, b, c, d)| ((a, c).into(), (b, d).into()));
    let given =
        (prop_oneof![four, six], any::<bool>(), any::<Vec<u8>>(), any::<prop::sample::Index>());
    runner()
        .run(&given, |((source, destination), v2, behind, cut)| {
            let addresses = Addresses { source, destination };
            let header = encoded(addresses, v2);
            let mut bytes = header.clone();
            bytes.extend(behind);
            let whole = Parsed::Whole { addresses: Some(addresses), bytes: header.len() };
            prop_assert_eq!(parse(&bytes).unwrap(), whole);
            prop_assert_eq!(parse(&header[..cut.index(header.len())]).unwrap(), Parsed::Part);
            Ok(())
        })
        .unwrap();
}

#[test]
fn no_bytes_make_it_panic_or_give_out_more_than_there_is() {
    let signature = prop_oneof![
        Just(Vec::new()),
        Just(V1.to_vec()),
        Just(b"PROXY TCP4 ".to_vec()),
        Just(V2.to_vec()),
        Just([V2, b"\x21\x11"].concat()),
    ];
    runner()
        .run(&(signature, any::<Vec<u8>>()), |(mut bytes, rest)| {
            bytes.extend(rest);
            if let Ok(Parsed::Whole { bytes: length, .. }) = parse(&bytes) {
                prop_assert!(length <= bytes.len());
            }
            Ok(())
        })
        .unwrap();
}

/// Two ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

#[tokio::test]
async fn nothing_behind_the_header_is_lost_however_it_is_cut() {
    for v2 in [false, true] {
        let addresses = addresses_of("203.0.113.9:40000", "192.0.2.1:443");
        let header = encoded(addresses, v2);
        let all = [&header[..], b"hello"].concat();
        for cut in 1..all.len() {
            let (mut client, mut server) = pair().await;
            client.set_nodelay(true).unwrap();
            client.write_all(&all[..cut]).await.unwrap();
            let reading = async {
                let read = read(&server).await.unwrap();
                (read, server)
            };
            let writing = async {
                tokio::task::yield_now().await;
                client.write_all(&all[cut..]).await.unwrap();
            };
            let read;
            ((read, server), ()) = tokio::join!(reading, writing);
            assert_eq!(read, Some(addresses));
            drop(client);
            let mut rest = Vec::new();
            server.read_to_end(&mut rest).await.unwrap();
            assert_eq!(rest, b"hello", "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_ends_too_early_says_how() {
    let (client, server) = pair().await;
    drop(client);
    assert!(matches!(read(&server).await, Err(HeaderError::Silent)));
    let (mut client, server) = pair().await;
    client.write_all(b"PROXY TCP4 203.0").await.unwrap();
    drop(client);
    assert!(matches!(read(&server).await, Err(HeaderError::CutOff)));
}
