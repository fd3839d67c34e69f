use proptest::prelude::*;

use super::*;

/// What became of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    /// With its content and trailers, and what is left behind it.
    Whole { status: u16, content: Vec<u8>, trailers: Vec<(String, Vec<u8>)>, left: usize },
    /// Why, where not just for its end.
    Refused(Option<Malformed>),
    /// More must come.
    Waits,
}

/// Reads an answer that comes in these pieces; the connection is closed behind them if that is said.
fn read(pieces: &[&[u8]], closed: bool, is_head: bool) -> Read {
    let (mut input, mut heads) = (BytesMut::new(), Heads::default());
    let (mut status, mut coming) = (None, None);
    let (mut content, mut trailers) = (Vec::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        while status.is_none() {
            match heads.take(&mut input, is_head) {
                Err(error) => return Read::Refused(Some(error)),
                Ok(None) => break,
                Ok(Some(head)) if head.is_interim() => {}
                Ok(Some(head)) => {
                    status = Some(head.parts.status.as_u16());
                    coming = Some(head.content);
                }
            }
        }
        let Some(coming) = &mut coming else { continue };
        loop {
            match coming.take(&mut input) {
                Err(error) => return Read::Refused(Some(error)),
                Ok(None) => break,
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(data) => {
                        assert!(!data.is_empty(), "a piece has something in it");
                        content.extend_from_slice(&data);
                    }
                    Err(frame) => {
                        let fields = frame.into_trailers().unwrap();
                        let fields = fields.iter();
                        trailers.extend(fields.map(|(name, value)| {
                            (name.as_str().to_owned(), value.as_bytes().to_vec())
                        }));
                    }
                },
            }
        }
    }
    let (Some(status), Some(mut coming)) = (status, coming) else {
        return if closed { Read::Refused(None) } else { Read::Waits };
    };
    if !coming.is_over() {
        if !closed {
            return Read::Waits;
        }
        if let Err(error) = coming.closed() {
            return Read::Refused(Some(error));
        }
    }
    Read::Whole { status, content, trailers, left: input.len() }
}

fn whole(text: &str) -> Read {
    let (trailers, left) = (Vec::new(), 0);
    Read::Whole { status: 200, content: text.as_bytes().to_vec(), trailers, left }
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

#[test]
fn an_answer_ends_where_it_says() {
    for (text, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".to_owned(), whole("hello")),
        ("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello".to_owned(), whole("hello")),
        ("HTTP/1.1 200\r\nContent-Length: 5, 5\r\n\r\nhello".to_owned(), whole("hello")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned(), whole("")),
        (format!("{CHUNKED}5\r\nhello\r\n0\r\n\r\n"), whole("hello")),
        (format!("{CHUNKED}2;a=b\r\nhe\r\n3 \t\r\nllo\r\n0 \r\n\r\n"), whole("hello")),
        (format!("{CHUNKED}0\r\n\r\n"), whole("")),
        (format!("HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n{CHUNKED}0\r\n\r\n"), whole("")),
    ] {
        assert_eq!(read(&[text.as_bytes()], false, false), expected, "{text}");
        // One byte less is not all of it, and never looks so.
        let less = &text.as_bytes()[..text.len() - 1];
        assert_eq!(read(&[less], false, false), Read::Waits, "{text}");
        assert!(matches!(read(&[less], true, false), Read::Refused(_)), "{text}");
        // What follows is left.
        let more = [text.as_bytes(), b"HTTP"].concat();
        assert!(matches!(read(&[&more], false, false), Read::Whole { left: 4, .. }), "{text}");
    }
}

#[test]
fn an_answer_without_an_end_ends_with_its_connection() {
    let text = b"HTTP/1.1 200 OK\r\n\r\nhello";
    assert_eq!(read(&[text], false, false), Read::Waits);
    assert_eq!(read(&[text], true, false), whole("hello"));
    let mut input = BytesMut::from(&text[..]);
    let head = Heads::default().take(&mut input, false).unwrap().unwrap();
    assert!(!head.keeps, "nothing may follow");
}

#[test]
fn some_answers_have_no_content_whatever_they_say() {
    for (status, is_head) in [("200 OK", true), ("204 No", false), ("304 No", false)] {
        for field in ["Content-Length: 5", "Transfer-Encoding: chunked", "X: y"] {
            let text = format!("HTTP/1.1 {status}\r\n{field}\r\n\r\nhello");
            let Read::Whole { content, left, .. } = read(&[text.as_bytes()], false, is_head) else {
                panic!("{text}");
            };
            assert_eq!((content.len(), left), (0, 5), "{text}");
        }
    }
}

#[test]
fn a_connection_is_kept_only_where_the_answer_says_so() {
    for (text, keeps) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: x, Close\r\n\r\n", false),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n",
            false,
        ),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", true),
        ("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n\r\n", false),
        ("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", false),
    ] {
        let mut input = BytesMut::from(text.as_bytes());
        let head = Heads::default().take(&mut input, false).unwrap().unwrap();
        assert_eq!(head.keeps, keeps, "{text}");
    }
}

#[test]
fn what_concerns_one_connection_is_not_in_a_head_but_in_that_of_another_protocol() {
    let fields = "Connection: X-Own, keep-alive\r\nX-Own: 1\r\nKeep-Alive: 5\r\nUpgrade: x\r\n\
                  Proxy-Connection: a\r\nTE: b\r\nContent-Length: 0\r\nX-Kept: 1\r\n\r\n";
    let head = |status: &str| {
        let mut input = BytesMut::from(format!("HTTP/1.1 {status}\r\n{fields}").as_bytes());
        Heads::default().take(&mut input, false).unwrap().unwrap()
    };
    let head_of_200 = head("200 OK");
    let mut names: Vec<_> = head_of_200.parts.headers.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["content-length", "x-kept"]);
    assert_eq!(head("101 Switching").parts.headers.len(), 8);
}

#[test]
fn what_is_no_answer_is_refused_as_soon_as_that_is_known() {
    for text in [
        "rubbish",
        "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00",
        "\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n",
        "HTTP/1.1 20 OK\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : a\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5, \r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775808\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, identity\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let got = read(&[text.as_bytes()], false, false);
        assert!(matches!(got, Read::Refused(Some(_))), "{text:?}: {got:?}");
    }
    for chunks in
        ["x\r\n", "\r\n", "5\r\nhelloX", "5\rX", "ffffffffffffffff\r\n", "-1\r\n", "0\r\n\n"]
    {
        let text = format!("{CHUNKED}{chunks}");
        let got = read(&[text.as_bytes()], false, false);
        assert!(matches!(got, Read::Refused(Some(_))), "{text:?}: {got:?}");
    }
}

#[test]
fn heads_and_trailers_have_bounds() {
    let long = "x".repeat(UPSTREAM_BUFFER_BYTES_MAX);
    let many = "X: 1\r\n".repeat(UPSTREAM_FIELDS_MAX + 1);
    let trailer = "x".repeat(UPSTREAM_TRAILER_BYTES_MAX);
    for text in [
        format!("HTTP/1.1 200 OK\r\nX: {long}"),
        format!("HTTP/1.1 200 OK\r\nX: {long}\r\n\r\n"),
        format!("HTTP/1.1 200 OK\r\n{many}\r\n"),
        format!("{CHUNKED}0\r\nX: {trailer}"),
        format!("{CHUNKED}0\r\nX: {trailer}\r\n\r\n"),
        format!("{CHUNKED}0\r\n{many}\r\n"),
    ] {
        let got = read(&[text.as_bytes()], false, false);
        assert!(matches!(got, Read::Refused(Some(_))), "{got:?}");
    }
}

/// An answer as some server might write it, and what is in it.
fn answers() -> impl Strategy<Value = (Vec<u8>, Read)> {
    let content = proptest::collection::vec(any::<u8>(), 0..200);
    (content, any::<bool>(), proptest::collection::vec(1_usize..50, 0..8), any::<bool>()).prop_map(
        |(content, chunked, sizes, with_trailers)| {
            let mut trailers = Vec::new();
            let mut text = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nX: y\r\n".to_vec();
            if chunked {
                text.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                let mut rest = &content[..];
                for size in sizes.into_iter().chain([200]) {
                    let (chunk, after) = rest.split_at(size.min(rest.len()));
                    if !chunk.is_empty() {
                        text.extend_from_slice(format!("{:x};e\r\n", chunk.len()).as_bytes());
                        text.extend_from_slice(chunk);
                        text.extend_from_slice(b"\r\n");
                    }
                    rest = after;
                }
                text.extend_from_slice(b"0\r\n");
                if with_trailers {
                    text.extend_from_slice(b"X-T: 1\r\nContent-Length: 7\r\n");
                    trailers.push(("x-t".to_owned(), b"1".to_vec()));
                }
                text.extend_from_slice(b"\r\n");
            } else {
                text.extend_from_slice(
                    format!("Content-Length: {}\r\n\r\n", content.len()).as_bytes(),
                );
                text.extend_from_slice(&content);
            }
            (text, Read::Whole { status: 200, content, trailers, left: 0 })
        },
    )
}

/// Cut at these places.
fn cut<'a>(bytes: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = places.iter().map(|place| place.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut at = 0;
    for place in places.into_iter().chain([bytes.len()]) {
        pieces.push(&bytes[at..place]);
        at = place;
    }
    pieces
}

proptest! {
    #[test]
    fn however_an_answer_comes_it_is_the_same(
        (text, expected) in answers(),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        prop_assert_eq!(read(&cut(&text, &places), false, false), expected);
    }

    #[test]
    fn an_answer_that_is_cut_short_never_looks_whole(
        (text, _) in answers(), at in any::<prop::sample::Index>(),
    ) {
        let cut = &text[..at.index(text.len())];
        prop_assert_eq!(read(&[cut], false, false), Read::Waits);
        prop_assert!(matches!(read(&[cut], true, false), Read::Refused(_)));
    }

    #[test]
    fn bytes_that_are_no_answer_are_none_however_they_come(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 0..5),
    ) {
        // Without a status line by chance.
        prop_assume!(!bytes.starts_with(b"HTTP/1."));
        prop_assert!(matches!(read(&cut(&bytes, &places), true, false), Read::Refused(_)));
    }

    #[test]
    fn what_is_changed_in_an_answer_panics_nowhere_and_reads_the_same_in_pieces(
        (mut text, _) in answers(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        for (place, byte) in changes {
            let place = place.index(text.len());
            text[place] = byte;
        }
        let (whole, pieces) = (read(&[&text], true, false), read(&cut(&text, &places), true, false));
        match (&whole, &pieces) {
            // Which of two faults is seen first may differ.
            (Read::Refused(_), Read::Refused(_)) => {}
            _ => prop_assert_eq!(whole, pieces),
        }
    }
}
