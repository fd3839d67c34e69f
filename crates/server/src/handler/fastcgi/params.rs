//! What a program is told of a request: the variables of RFC 3875, 4.1, and those that PHP and its
//! frameworks look for beside them. Pure: facts in, bytes out.
//!
//! All of it together is bounded by what it is made of: a request's head and path, both bounded,
//! and the configuration.

use std::{
    borrow::Cow,
    net::{IpAddr, SocketAddr},
};

use bindery_model::site::FastCgi;
use http::{HeaderMap, HeaderValue, Uri, Version, header, request::Parts};

use super::record::{Head, Parameters};
use crate::{
    http::client::{Client, HandedOn},
    tls::Negotiated,
};

/// What the configuration says, which is the same for all requests.
#[derive(Debug)]
pub(super) struct Settings {
    written: Parameters,
    /// Names that the configuration gives a value: nothing else is sent under them.
    own: Vec<Box<str>>,
    /// The folder of scripts as the program sees it, without a slash at the end.
    document_root: Vec<u8>,
    /// Where the route begins, without a slash at the end.
    prefix: Box<[u8]>,
    /// Names whose value does not fit into a record.
    pub(super) too_long: Vec<Box<str>>,
}

impl Settings {
    pub(super) fn new(route: &str, fastcgi: &FastCgi) -> Self {
        let own = |name: &str| fastcgi.parameters.iter().find(|(own, _)| own == name);
        // A program in a container may see the folder elsewhere.
        let root = own("DOCUMENT_ROOT").map_or_else(
            || fastcgi.files.root.as_os_str().as_encoded_bytes(),
            |(_, value)| value.as_bytes(),
        );
        let document_root = root.strip_suffix(b"/").unwrap_or(root).to_vec();
        let mut settings = Self {
            written: Parameters::default(),
            own: fastcgi.parameters.iter().map(|(name, _)| name.as_str().into()).collect(),
            prefix: route.strip_suffix('/').unwrap_or(route).as_bytes().into(),
            too_long: Vec::new(),
            document_root,
        };
        for (name, value) in [
            ("GATEWAY_INTERFACE", b"CGI/1.1".as_slice()),
            ("SERVER_SOFTWARE", b"Bindery"),
            // Without it php-cgi believes that it was asked past the server, and refuses.
            ("REDIRECT_STATUS", b"200"),
            ("DOCUMENT_ROOT", root),
        ] {
            if own(name).is_none() {
                settings.write(name, value);
            }
        }
        for (name, value) in &fastcgi.parameters {
            settings.write(name, value.as_bytes());
        }
        settings
    }

    fn write(&mut self, name: &str, value: &[u8]) {
        if !self.written.put(name.as_bytes(), value) {
            self.too_long.push(name.into());
        }
    }

    fn is_own(&self, name: &[u8]) -> bool {
        self.own.iter().any(|own| own.as_bytes() == name)
    }
}

/// What is to be told of one request.
pub(super) struct Facts<'a> {
    pub(super) request: &'a Parts,
    /// What was asked for before rules changed it.
    pub(super) asked: &'a Uri,
    /// The authority as it was sent, and the host in it.
    pub(super) authority: Option<&'a str>,
    pub(super) local: SocketAddr,
    /// Who asks; behind a trusted proxy as that says.
    pub(super) client: &'a Client<'a>,
    /// Not known behind a proxy.
    pub(super) client_port: Option<u16>,
    /// The name in the hello of the connection.
    pub(super) server_name: Option<&'a str>,
    /// What the handshake of the connection agreed on.
    pub(super) negotiated: Option<Negotiated>,
    pub(super) remote_user: Option<&'a str>,
    /// The script, below the root, from its first slash on.
    pub(super) script: &'a [u8],
    /// The rest of the path.
    pub(super) path_info: &'a [u8],
    /// The length of the content, where there is any.
    pub(super) length: Option<u64>,
}

/// The beginning of a request, to be finished.
pub(super) fn head(settings: &Settings, facts: &Facts<'_>) -> Head {
    let mut told = Told { head: Head::new(), settings };
    told.head.put_all(&settings.written);
    told.path(facts);
    told.connection(facts);
    told.request(facts);
    told.fields(&facts.request.headers, facts);
    told.head
}

struct Told<'a> {
    head: Head,
    settings: &'a Settings,
}

impl Told<'_> {
    fn put(&mut self, name: &[u8], value: &[&[u8]]) {
        if !self.settings.is_own(name) {
            // What does not fit cannot come from a request: its head is smaller than a record.
            self.head.put(name, value);
        }
    }

    fn path(&mut self, facts: &Facts<'_>) {
        let Facts { script, path_info, .. } = *facts;
        let Settings { document_root: root, prefix, .. } = self.settings;
        self.put(b"SCRIPT_FILENAME", &[root, script]);
        self.put(b"SCRIPT_NAME", &[prefix, script]);
        self.put(b"DOCUMENT_URI", &[prefix, script, path_info]);
        self.put(b"PATH_INFO", &[path_info]);
        if !path_info.is_empty() {
            self.put(b"PATH_TRANSLATED", &[root, path_info]);
        }
        let asked = facts.asked.path_and_query().map_or("/", |path| path.as_str());
        self.put(b"REQUEST_URI", &[asked.as_bytes()]);
        let query = facts.request.uri.query().unwrap_or_default();
        self.put(b"QUERY_STRING", &[query.as_bytes()]);
    }

    fn connection(&mut self, facts: &Facts<'_>) {
        let Facts { local, client, .. } = facts;
        let host = facts.authority.map(host_of).filter(|host| !host.is_empty());
        let host = host.map_or_else(|| Cow::Owned(local.ip().to_string()), Cow::Borrowed);
        self.put(b"SERVER_NAME", &[host.as_bytes()]);
        let mut text = Text::default();
        for (name, address) in
            [(b"SERVER_ADDR", local.ip().to_canonical()), (b"REMOTE_ADDR", client.address)]
        {
            self.put(name, &[text.of(address)]);
        }
        let mut number = itoa::Buffer::new();
        self.put(b"SERVER_PORT", &[number.format(local.port()).as_bytes()]);
        if let Some(port) = facts.client_port {
            self.put(b"REMOTE_PORT", &[number.format(port).as_bytes()]);
        }
        if let Some(user) = facts.remote_user {
            self.put(b"REMOTE_USER", &[user.as_bytes()]);
        }
        if client.https {
            self.put(b"HTTPS", &[b"on"]);
        }
        self.put(b"REQUEST_SCHEME", &[client.scheme().as_bytes()]);
        if let Some(name) = facts.server_name {
            self.put(b"SSL_TLS_SNI", &[name.as_bytes()]);
        }
        if let Some(negotiated) = facts.negotiated {
            self.put(b"SSL_PROTOCOL", &[negotiated.version.as_bytes()]);
            self.put(b"SSL_CIPHER", &[negotiated.cipher_suite.as_bytes()]);
        }
    }

    fn request(&mut self, facts: &Facts<'_>) {
        let request = facts.request;
        self.put(b"REQUEST_METHOD", &[request.method.as_str().as_bytes()]);
        let version: &[u8] = match request.version {
            Version::HTTP_10 => b"HTTP/1.0",
            Version::HTTP_2 => b"HTTP/2.0",
            _ => b"HTTP/1.1",
        };
        self.put(b"SERVER_PROTOCOL", &[version]);
        if let Some(content_type) = request.headers.get(header::CONTENT_TYPE) {
            self.put(b"CONTENT_TYPE", &[content_type.as_bytes()]);
        }
        if let Some(length) = facts.length {
            self.put(b"CONTENT_LENGTH", &[itoa::Buffer::new().format(length).as_bytes()]);
        }
    }

    fn fields(&mut self, fields: &HeaderMap, facts: &Facts<'_>) {
        // HTTP/2 has it elsewhere.
        if let Some(authority) = facts.authority {
            self.put(b"HTTP_HOST", &[authority.as_bytes()]);
        }
        let mut name = b"HTTP_".to_vec();
        for field in fields.keys() {
            let handed_on = facts.client.hands_on(field);
            if !is_told(field.as_str()) || handed_on == HandedOn::NotAtAll {
                continue;
            }
            name.truncate(5);
            name.extend(field.as_str().bytes().map(|byte| match byte {
                b'-' => b'_',
                other => other.to_ascii_uppercase(),
            }));
            // Not what proxies say, but what of it is believed: a program stands in no line of
            // proxies, and knows the client by REMOTE_ADDR.
            if handed_on == HandedOn::Anew {
                if let Some(believed) = facts.client.in_words_of(field, fields) {
                    self.put(&name, &[believed.as_bytes()]);
                }
                continue;
            }
            let mut values = fields.get_all(field).iter();
            match (values.next(), values.next()) {
                (Some(value), None) => self.put(&name, &[value.as_bytes()]),
                _ => {
                    // Cookies are joined in their own way (RFC 9113, 8.2.3).
                    let between: &[u8] = if field == header::COOKIE { b"; " } else { b", " };
                    let values: Vec<_> =
                        fields.get_all(field).iter().map(HeaderValue::as_bytes).collect();
                    self.put(&name, &[&values.join(between)]);
                }
            }
        }
    }
}

/// Whether a field is told as `HTTP_…`. Not one that has a variable of its own or is about the
/// connection, and none whose name could be that of another: `_` and `-` become the same.
fn is_told(name: &str) -> bool {
    match name {
        // Programs take HTTP_PROXY for the proxy they are to use themselves (CVE-2016-5385).
        "proxy" => false,
        "host" | "content-type" | "content-length" => false,
        "connection" | "keep-alive" | "proxy-connection" | "te" | "trailer"
        | "transfer-encoding" | "upgrade" | "expect" => false,
        other => other.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'),
    }
}

/// The host of an authority that was found to be one.
fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.find(']').and_then(|end| authority.get(..end + 2)).unwrap_or(authority),
        None => authority.split_once(':').map_or(authority, |(host, _)| host),
    }
}

/// Addresses as text, without an allocation each.
#[derive(Default)]
struct Text(String);

impl Text {
    fn of(&mut self, address: IpAddr) -> &[u8] {
        use std::fmt::Write as _;
        self.0.clear();
        match address {
            // The formatter of the standard library takes several times as long.
            IpAddr::V4(address) => {
                for (place, octet) in address.octets().into_iter().enumerate() {
                    if place > 0 {
                        self.0.push('.');
                    }
                    self.0.push_str(itoa::Buffer::new().format(octet));
                }
            }
            // Writing to a string cannot fail.
            IpAddr::V6(address) => write!(self.0, "{address}").unwrap_or_default(),
        }
        self.0.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use bindery_model::{
        site::Files,
        upstream::{ServerAddress, Timeouts},
    };
    use http::Request;

    use super::*;
    use crate::http::client;

    fn settings(route: &str, root: &str, parameters: &[(&str, &str)]) -> Settings {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let fastcgi = FastCgi {
            server: ServerAddress::Unix("none".into()),
            files: Files::of(root.into()),
            extensions: vec!["php".to_owned()],
            front_controller: None,
            parameters: parameters.iter().map(own).collect(),
            timeouts: Timeouts::default(),
            idle_connections_max: 0,
        };
        Settings::new(route, &fastcgi)
    }

    /// The parameters that are told, as `NAME=value` without those of the connection.
    fn told(settings: &Settings, request: Request<()>) -> Vec<String> {
        told_of(settings, "[::ffff:192.0.2.1]:1234", &[], request)
    }

    fn told_of(
        settings: &Settings,
        peer: &str,
        trusted: &[ipnet::IpNet],
        request: Request<()>,
    ) -> Vec<String> {
        let request = request.into_parts().0;
        let peer = peer.parse().unwrap();
        let client = client::client(peer, false, "[::1]:8080", &request.headers, trusted);
        let facts = Facts {
            request: &request,
            asked: &request.uri,
            authority: Some("[::1]:8080"),
            local: ([127, 0, 0, 1], 80).into(),
            client: &client,
            client_port: Some(1234),
            server_name: None,
            negotiated: None,
            remote_user: Some("somebody"),
            script: b"/a.php",
            path_info: b"/b",
            length: Some(7),
        };
        let bytes = head(settings, &facts).finish(true);
        // All lengths are short here: after the two headers and before the last.
        let (mut rest, mut pairs) = (&bytes[24..bytes.len() - 8], Vec::new());
        while let [name, value, more @ ..] = rest {
            let (name, more) = more.split_at(usize::from(*name));
            let (value, more) = more.split_at(usize::from(*value));
            let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
            pairs.push(format!("{}={}", text(name), text(value)));
            rest = more;
        }
        pairs
    }

    #[test]
    fn no_name_is_told_twice_and_the_configuration_s_word_is_the_last() {
        let own = [
            ("SERVER_NAME", "a"),
            ("HTTP_X", "b"),
            ("DOCUMENT_ROOT", "/app/"),
            ("HTTP_PROXY", "c"),
        ];
        let settings = settings("/shop", "/srv/shop", &own);
        let request = Request::get("/shop/a.php/b?q").header("X", "theirs").header("Proxy", "x");
        let pairs = told(&settings, request.header("Y-Z", "y").body(()).unwrap());
        let mut names: Vec<_> = pairs.iter().map(|pair| pair.split_once('=').unwrap().0).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "{pairs:?}");
        for expected in [
            "SERVER_NAME=a",
            "HTTP_X=b",
            "HTTP_PROXY=c",
            "HTTP_Y_Z=y",
            "DOCUMENT_ROOT=/app/",
            "SCRIPT_FILENAME=/app/a.php",
            "PATH_TRANSLATED=/app/b",
            "SCRIPT_NAME=/shop/a.php",
            "DOCUMENT_URI=/shop/a.php/b",
            "REMOTE_ADDR=192.0.2.1",
            "REMOTE_USER=somebody",
            "CONTENT_LENGTH=7",
        ] {
            assert!(pairs.iter().any(|pair| pair == expected), "{expected} in {pairs:?}");
        }
    }

    #[test]
    fn fields_that_could_be_taken_for_others_are_not_told() {
        let settings = settings("/", "/srv/", &[]);
        let mut request = Request::get("/a.php");
        for name in
            ["proxy", "x_y", "x.y", "content-type", "content-length", "te", "upgrade", "host"]
        {
            request = request.header(name, "1");
        }
        let pairs = told(&settings, request.body(()).unwrap());
        let fields: Vec<_> = pairs.iter().filter(|pair| pair.starts_with("HTTP_")).collect();
        assert_eq!(fields, ["HTTP_HOST=[::1]:8080"]);
        assert!(pairs.contains(&"SERVER_NAME=[::1]".to_owned()), "{pairs:?}");
        assert!(pairs.contains(&"SCRIPT_FILENAME=/srv/a.php".to_owned()), "{pairs:?}");
    }

    #[test]
    fn only_what_is_believed_of_the_client_is_told() {
        let settings = settings("/", "/srv/", &[]);
        let request = || {
            Request::get("/a.php")
                .header("X-Forwarded-For", "10.9.9.9, 198.51.100.7, 10.0.0.2")
                .header("X-Forwarded-Proto", "https")
                .header("X-Forwarded-Host", "shop.example")
                .header("X-Forwarded-Port", "no port")
                .header("X-Forwarded-Prefix", "/shop")
                .header("X_Forwarded_For", "1.1.1.1")
                .header("Forwarded", "for=1.1.1.1;proto=gopher")
                .header("X-Other", "1")
                .body(())
                .unwrap()
        };
        let fields = |pairs: &[String]| {
            let own = |pair: &&String| pair.contains("FORWARDED") || pair.contains("OTHER");
            let mut own: Vec<_> = pairs.iter().filter(own).cloned().collect();
            own.sort_unstable();
            own
        };
        let pairs = told(&settings, request());
        assert_eq!(fields(&pairs), ["HTTP_X_OTHER=1"], "of a stranger");
        assert!(pairs.contains(&"REMOTE_ADDR=192.0.2.1".to_owned()), "{pairs:?}");

        let trusted = ["10.0.0.0/24".parse().unwrap()];
        let pairs = told_of(&settings, "10.0.0.1:99", &trusted, request());
        assert_eq!(
            fields(&pairs),
            [
                "HTTP_FORWARDED=for=198.51.100.7;host=shop.example;proto=https",
                "HTTP_X_FORWARDED_FOR=198.51.100.7",
                "HTTP_X_FORWARDED_HOST=shop.example",
                "HTTP_X_FORWARDED_PREFIX=/shop",
                "HTTP_X_FORWARDED_PROTO=https",
                "HTTP_X_OTHER=1",
            ]
        );
        for expected in ["REMOTE_ADDR=198.51.100.7", "HTTPS=on"] {
            assert!(pairs.contains(&expected.to_owned()), "{pairs:?}");
        }
    }

    #[test]
    fn what_is_too_long_is_said_to_be() {
        let long = "x".repeat(70_000);
        assert_eq!(settings("/", "/srv", &[("A", &long), ("B", "b")]).too_long, ["A".into()]);
    }
}
