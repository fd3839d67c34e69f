//! The PROXY protocol header that a load balancer puts before everything else on a connection
//! (HAProxy's specification, versions 1 and 2): who the client is and where it came to.
//!
//! Not one byte behind the header is taken from the socket: it is looked at first, and only what
//! belongs to the header is read.

use std::{io, net::SocketAddr};

use proxy_header::{Error, ParseConfig, ProxiedAddress, ProxyHeader};
use tokio::net::TcpStream;

use crate::limits::{PROXY_HEADER_BYTES_MAX, PROXY_HEADER_V1_BYTES_MAX};

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Addresses {
    /// The client.
    pub(crate) source: SocketAddr,
    /// The address that the client came to, of the load balancer mostly.
    pub(crate) destination: SocketAddr,
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HeaderError {
    /// The peer went away before it said anything: how load balancers look whether a port is open.
    #[error("the load balancer closed the connection without a PROXY protocol header")]
    Silent,
    /// The first bytes are something else.
    #[error("the connection does not begin with a PROXY protocol header")]
    NotOne,
    /// It is longer than any that is in use.
    #[error("the PROXY protocol header is too long")]
    TooLong,
    /// It ends in the middle.
    #[error("the connection ended within the PROXY protocol header")]
    CutOff,
    /// The connection broke.
    #[error("the connection broke within the PROXY protocol header")]
    Io(#[from] io::Error),
}

/// Reads the header of a connection, and nothing behind it. `None` where the load balancer speaks
/// for itself (LOCAL, UNKNOWN) or of an address that is none of IP. Takes as long as the peer
/// does: the caller has the deadline.
pub(crate) async fn read(tcp: &TcpStream) -> Result<Option<Addresses>, HeaderError> {
    let mut header = Vec::new();
    let mut seen = Vec::new();
    loop {
        seen.clear();
        seen.extend_from_slice(&header);
        seen.resize(PROXY_HEADER_BYTES_MAX, 0);
        let room = seen.get_mut(header.len()..).unwrap_or_default();
        let peeked = tcp.peek(room).await?;
        if peeked == 0 {
            return Err(if header.is_empty() { HeaderError::Silent } else { HeaderError::CutOff });
        }
        seen.truncate(header.len() + peeked);
        match parse(&seen)? {
            Parsed::Whole { addresses, bytes } => {
                take(tcp, bytes.saturating_sub(header.len())).await?;
                return Ok(addresses);
            }
            // All of it belongs to the header. It is taken, so that the next look waits for more.
            Parsed::Part => {
                take(tcp, peeked).await?;
                std::mem::swap(&mut header, &mut seen);
            }
        }
    }
}

/// Reads bytes that were seen on the socket already.
async fn take(tcp: &TcpStream, mut bytes: usize) -> io::Result<()> {
    let mut scratch = [0; 256];
    while bytes > 0 {
        let room = scratch.get_mut(..bytes.min(256)).unwrap_or_default();
        match tcp.try_read(room) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => bytes -= read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tcp.readable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Whole {
        addresses: Option<Addresses>,
        bytes: usize,
    },
    /// More must come.
    Part,
}

const V1: &[u8] = b"PROXY ";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, command, family and length of version 2.
const V2_FIXED_BYTES: usize = 16;
/// Version 2, command LOCAL.
const V2_LOCAL: u8 = 0x20;

/// What the beginning of a connection is. Says that it is none as soon as that is known.
fn parse(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    let begins_as = |signature: &[u8]| bytes.iter().zip(signature).all(|(a, b)| a == b);
    if begins_as(V2) {
        return parse_v2(bytes);
    }
    if !begins_as(V1) {
        return Err(HeaderError::NotOne);
    }
    // The library bounds a line only as long as its end has not come.
    let line = bytes.get(..PROXY_HEADER_V1_BYTES_MAX).unwrap_or(bytes);
    let ended = line.windows(2).any(|two| two == b"\r\n");
    if !ended && line.len() == PROXY_HEADER_V1_BYTES_MAX {
        return Err(HeaderError::TooLong);
    }
    if !ended {
        return if line.contains(&b'\n') { Err(HeaderError::NotOne) } else { Ok(Parsed::Part) };
    }
    whole(line)
}

fn parse_v2(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    let Some([command, _, length @ ..]) = bytes.get(V2.len()..V2_FIXED_BYTES) else {
        return Ok(Parsed::Part);
    };
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let length = V2_FIXED_BYTES + length;
    if length > PROXY_HEADER_BYTES_MAX {
        return Err(HeaderError::TooLong);
    }
    let Some(header) = bytes.get(..length) else { return Ok(Parsed::Part) };
    // Whatever family stands beside LOCAL is to be ignored; the library refuses some.
    if *command == V2_LOCAL {
        return Ok(Parsed::Whole { addresses: None, bytes: length });
    }
    whole(header)
}

/// A header that has all its bytes.
fn whole(header: &[u8]) -> Result<Parsed, HeaderError> {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(header, config) {
        Ok((parsed, bytes)) => {
            let addresses = parsed.proxied_address().map(addresses);
            Ok(Parsed::Whole { addresses, bytes })
        }
        Err(Error::HeaderTooBig) => Err(HeaderError::TooLong),
        Err(_) => Err(HeaderError::NotOne),
    }
}

fn addresses(proxied: &ProxiedAddress) -> Addresses {
    let canonical =
        |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    Addresses { source: canonical(proxied.source), destination: canonical(proxied.destination) }
}

#[cfg(test)]
mod tests;
