//! Texts of configurations that are right, of everything that a configuration can hold.

use proptest::{prelude::*, sample};

/// Some of the lines, of each key at most one.
fn lines(keys: &'static [(&'static str, &'static [&'static str])]) -> BoxedStrategy<String> {
    let every: Vec<_> = keys
        .iter()
        .map(|(key, values)| {
            let value = sample::select(*values).prop_map(move |value| format!("{key} = {value}\n"));
            prop_oneof![3 => Just(String::new()), 1 => value]
        })
        .collect();
    every.prop_map(|lines| lines.concat()).boxed()
}

const SERVER: &[(&str, &[&str])] = &[
    ("state_dir", &["'/var/lib/bindery'", "'state'"]),
    ("workers", &["1", "8"]),
    ("order", &["'host-first'", "'http.sys'"]),
    ("user", &["'www'"]),
    ("drain_seconds", &["0", "30"]),
    ("trusted_proxies", &["['10.0.0.0/8', '192.0.2.1', '2001:db8::/32', '::1']", "[]"]),
    (
        "access_log",
        &[
            "'/var/log/b'",
            "{ folder = 'l', format = 'json', shared = true }",
            "{ folder = 'l', format = 'combined', roll = 'hourly', compress = false }",
            "{ folder = '/l', roll = 1048576, keep_days = 9 }",
        ],
    ),
    ("admin", &["'127.0.0.1:9180'", "'[::1]:9180'"]),
    ("connections_max", &["77"]),
    ("client_ca", &["'ca.pem'"]),
    ("connections_per_address_max", &["5"]),
    (
        "application_pools",
        &[
            "{}",
            "{ P = {}, 'Q R' = { autoStart = 'false', processModel.idleTimeout = '00:00:00' } }",
            "{ DefaultAppPool = { queueLength = '2000' } }",
        ],
    ),
];

const SITE: &[(&str, &[&str])] = &[
    ("state", &["'started'", "'stopped'"]),
    ("https_redirect", &["true", "false"]),
    ("access_log", &["false"]),
    ("ignore_case", &["true", "false"]),
    ("application_pool", &["'P'", "'DefaultAppPool'"]),
    (
        "limits",
        &["{}", "{ requests_max = 9 }", "{ requests_max = 1, bytes_per_second_max = 8000000000 }"],
    ),
];

const FILES: &[(&str, &[&str])] = &[
    ("default_documents", &["[]", "['a.html', 'b c.html']", "['index.html']"]),
    ("listing", &["true", "false"]),
    ("fallback", &["'/index.html'", "false"]),
    ("symlinks", &["'refuse'", "'inside'", "'follow'"]),
    ("precompressed", &["true", "false"]),
    ("media_types", &["{}", "{ '.z' = 'x/z', '.B' = 'x/b', '.a' = 'text/x; charset=u' }"]),
    ("unknown_types", &["'bytes'", "'refuse'", "'listed'"]),
    ("hidden", &["[]", "['bin', 'App_Data']"]),
    ("charset", &["''", "'utf-8'", "'latin1'"]),
    (
        "cache_control",
        &[
            "[]",
            "[{ suffix = '.css', value = 'max-age=1' }, { prefix = '/a', value = 'no-store' }]",
            "[{ path = '/a b', value = 'x' }, { regex = '^/\"\\d', value = 'y' }]",
            "[{ suffix = '.old', expires = 'Tue, 19 Jan 2038 03:14:07 GMT' }]",
        ],
    ),
];

const RULES: &[(&str, &[&str])] = &[
    ("https_only", &["true", "false"]),
    (
        "access",
        &[
            "[]",
            "['deny all']",
            "['allow 10.0.0.0/8', 'deny 192.0.2.1', 'allow ::/0', 'deny 0.0.0.0/0']",
            "['allow 2001:db8::1', 'allow all']",
        ],
    ),
    (
        "rate_limit",
        &[
            "false",
            "{ requests = 5 }",
            "{ requests = 5, seconds = 60 }",
            "{ requests = 5, burst = 9 }",
        ],
    ),
    ("basic_auth", &["false", "{ file = 'pw' }", "{ file = '/pw', realm = 'a realm' }"]),
    (
        "redirects",
        &[
            "[]",
            "[{ path = '/o', to = '/n' }, { prefix = '/p', to = 'https://B.example/', status = 301 }]",
            "[{ regex = '^/(\\d)', to = '/${1}/$$', keep_query = false }]",
            "[{ suffix = '.b', status = 404 }, { prefix = '/w', to = false, unless = { file = true } }]",
            "[{ prefix = '/', when = { scheme = 'http', host = ['a', '^b$'] }, to = 'https://${host}' }]",
        ],
    ),
    (
        "rewrites",
        &[
            "[]",
            "[{ prefix = '/r', to = '/s' }, { suffix = '.x', to = '/y?z=1' }]",
            "[{ regex = '.', to = '/i', unless = { file = true, folder = true, fields = { A = 'b' } } }]",
            "[{ regex = '.', to = false, when = { folder = true, method = 'P', uri = 'x' } }]",
            "[{ regex = 'a', to = '${lower:path}', keep_query = false, next = 2 }, { suffix = '.x', status = 404 }]",
            "[{ regex = '(a)', to = 'https://${host}/', status = 301, unless = { texts = { '$1${encode:uri}' = ['b', 'c'] } } }]",
        ],
    ),
    ("request_bytes_max", &["0", "1000", "false"]),
    (
        "cors",
        &[
            "'any'",
            "false",
            "{ origins = ['https://a.example', 'http://b.example:81'], credentials = true }",
            "{ methods = [], headers = ['X-A'], max_age = 0 }",
        ],
    ),
    (
        "response_headers",
        &[
            "{}",
            "{ remove = ['Server'], set = { Z = 'z', A = 'a b' } }",
            "{ set = { B = '\"' }, add = { Y = ['1', '2'], X = 'x' } }",
        ],
    ),
    (
        "hsts",
        &["true", "false", "{ max_age = 9 }", "{ include_subdomains = true, preload = true }"],
    ),
    ("compress", &["true", "false", "{ bytes_min = 1 }", "{ types = ['text/*', 'a/b'] }"]),
    ("error_pages", &["{}", "{ 503 = '/e/503', 404 = 'e/404', '403.14' = 'e/list' }"]),
];

const UPSTREAM_HEADERS: &[(&str, &[&str])] =
    &[("request_headers", &["{}", "{ set = { Authorization = 'x' }, remove = ['Cookie'] }"])];

const PROXY: &[(&str, &[&str])] = &[
    ("host", &["'keep'", "'server'", "'Other.example:81'"]),
    ("balance", &["'round-robin'", "'least-connections'"]),
    ("sticky", &["false", "'address'", "{ cookie = 'r' }"]),
    ("http2", &["true", "false"]),
    ("proxy_protocol", &["'v1'", "'v2'"]),
    (
        "health_check",
        &[
            "{ path = '/h' }",
            "{ path = '/h?x', interval_seconds = 9, timeout_seconds = 1, rise = 7, fall = 1 }",
        ],
    ),
    ("failures_max", &["0", "3"]),
    ("failed_for_seconds", &["1", "10"]),
    ("idle_connections_max", &["0", "64"]),
    ("connect_timeout_seconds", &["1", "5"]),
    ("first_byte_timeout_seconds", &["86400"]),
    ("idle_timeout_seconds", &["61"]),
    ("forwarded", &["true"]),
    ("tls", &["{ ca = 'ca.pem', server_name = 'n.example' }", "{ insecure = true }", "{}"]),
];

const FAST_CGI: &[(&str, &[&str])] = &[
    ("extensions", &["['.php']", "['.php', '.inc']"]),
    ("front_controller", &["'/index.php'"]),
    ("parameters", &["{}", "{ Z = '1', A = 'two words' }"]),
    ("idle_connections_max", &["0", "8"]),
    ("connect_timeout_seconds", &["7"]),
];

/// What answers, with what goes by it.
fn action() -> BoxedStrategy<String> {
    let root = sample::select(&["root = '/srv/a'\n", "root = 'rel'\n"][..]);
    let files = || (root.clone(), lines(FILES)).prop_map(|(root, files)| root.to_owned() + &files);
    let short = sample::select(
        &[
            "proxy = 'http://127.0.0.1:9000'\n",
            "proxy = ['http://[::1]:80/v2', 'https://b.example/v2']\n",
            "proxy = 'unix:/run/a.sock'\n",
            "proxy = [{ to = 'http://a:1', weight = 3 }, { to = 'http://b:2', backup = true }]\n",
        ][..],
    );
    let long = lines(PROXY).prop_map(|keys| {
        let keys = keys.replace(" = ", "=").trim_end().replace('\n', ", ");
        let between = if keys.is_empty() { "" } else { ", " };
        format!("proxy = {{ to = ['https://c.example', 'http://d.example/'] {between}{keys} }}\n")
            .replace("'http://d.example/'", "'http://d.example'")
    });
    let programs = lines(FAST_CGI).prop_map(|keys| {
        let keys = keys.trim_end().replace('\n', ", ");
        let between = if keys.is_empty() { "" } else { ", " };
        format!("fastcgi = {{ to = 'unix:/run/p.sock'{between}{keys} }}\n")
    });
    let upstream = || lines(UPSTREAM_HEADERS);
    let both = |(one, other): (String, String)| one + &other;
    prop_oneof![
        files(),
        (short.prop_map(str::to_owned), upstream()).prop_map(both),
        (long, upstream()).prop_map(both),
        (files(), programs, upstream()).prop_map(|(one, two, three)| one + &two + &three),
        (files(), Just("fastcgi = 'localhost:9000'\n".to_owned())).prop_map(both),
        sample::select(
            &[
                "redirect = 'https://BÜCHER.example'\n",
                "redirect = { to = '/x', status = 302 }\n",
                "respond = 'a \"quoted\" text\\'\n",
                "respond = \"lines\\nand \\u0001\"\n",
                "respond = ''\n",
                "respond = { status = 404 }\n",
                "respond = { body = 'b', content_type = 'text/html' }\n",
            ][..]
        )
        .prop_map(str::to_owned),
    ]
    .boxed()
}

fn binding(number: usize) -> BoxedStrategy<String> {
    let certificate = sample::select(
        &[
            "",
            "certificate = 'One', ",
            "certificate = ['two', 'ONE'], ",
            "certificate = 'central', ",
            "certificate = 'best', ",
            "certificate = '00112233445566778899aabbccddeeff00112233', ",
            "certificate = '00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00112233445566778899aabbccddeeff', ",
        ][..],
    );
    let tls = sample::select(
        &[
            "",
            "tls = { minimum = '1.3' }, ",
            "tls = { maximum = '1.2', http2 = false }, ",
            "tls = { client_certificate = 'require', client_ca = 'ca.pem' }, ",
            "tls = { client_certificate = 'optional', client_ca = '/ca.pem' }, ",
            "tls = {}, ",
        ][..],
    );
    let host = sample::select(&["h{}.example", "*.w{}.example", "bücher{}.example"][..]);
    let address = sample::select(&["*", "192.0.2.7", "[2001:db8::1]", ""][..]);
    let host = host.prop_map(move |host| host.replace("{}", &number.to_string()));
    prop_oneof![
        (address.clone(), host.clone()).prop_map(|(a, host)| format!("'http/{a}:80:{host}'")),
        (address.clone(), host.clone()).prop_map(|(a, host)| format!("'https/{a}:443:{host}'")),
        (address, host, certificate, tls).prop_map(|(address, host, certificate, tls)| {
            let on = format!("on = 'HTTPS/{address}:443:{host}'");
            format!("{{ {certificate}{tls}{on} }}")
        }),
    ]
    .boxed()
}

fn site(number: usize) -> BoxedStrategy<String> {
    let route = |kind: &'static str, place: usize| {
        let what = match kind {
            "applications" => action(),
            _ => lines(FILES).prop_map(|files| format!("root = 'v'\n{files}")).boxed(),
        };
        let text = (what, lines(RULES)).prop_map(move |(action, rules)| {
            format!("[[site.{kind}]]\npath = '/{kind}/{place}'\n{action}{rules}")
        });
        prop_oneof![Just(String::new()), text]
    };
    let routes = (
        route("applications", 0),
        route("applications", 1),
        route("virtual_directories", 0),
        route("virtual_directories", 1),
    );
    let bindings: Vec<_> = (number * 10..number * 10 + 3).map(binding).collect();
    let id = prop_oneof![
        Just(String::new()),
        (90..99_u32).prop_map(move |own| { format!("id = {}\n", own as usize + 10 * number) })
    ];
    // What is here does not change what is there: a name may be here and not there.
    let name = sample::select(&["s", "S", "other name "][..]);
    (name, id, lines(SITE), action(), lines(RULES), bindings, 0..=3_usize, routes)
        .prop_map(move |(name, id, own, action, rules, bindings, count, routes)| {
            let bindings = bindings[..count].join(", ");
            let (a, b, c, d) = routes;
            format!(
                "[[site]]\nname = '{name}{number}'\nbindings = [{bindings}]\n{id}{own}{action}{rules}{a}{b}{c}{d}"
            )
        })
        .boxed()
}

/// A whole text. Two of them have much in common.
pub(in crate::document) fn text() -> BoxedStrategy<String> {
    let server = lines(SERVER).prop_map(|keys| {
        format!("[server]\ncentral_store = {{ folder = 'central', password_file = 'pw' }}\n{keys}")
    });
    let listener = sample::select(
        &[
            "",
            "[[listener]]\non = 'https/*:443'\nno_sni = 'refuse'\n",
            "[[listener]]\non = 'https/:443'\nunknown_name = 'refuse'\nproxy_protocol = ['10.0.0.0/8']\n",
        ][..],
    );
    let certificates = sample::select(
        &[
            "[[certificate]]\nname = 'One'\nfile = '1.pem'\nkey = '1.key'\n[[certificate]]\nname = 'two'\nfile = '/2.pfx'\npassword_file = 'pw'\n",
            "[[certificate]]\nname = 'two'\nfile = '/2.pem'\n[[certificate]]\nname = 'one'\nfile = '1.pem'\n",
            "[[certificate]]\nname = 'zero'\nfile = '/0.pem'\n[[certificate]]\nname = 'two'\nfile = '/2.pem'\n[[certificate]]\nname = 'one'\nfile = '1.pem'\n",
        ][..],
    );
    let sites: Vec<_> =
        (0..4).map(|number| prop_oneof![1 => Just(String::new()), 3 => site(number)]).collect();
    (server, listener, certificates, sites)
        .prop_map(|(server, listener, certificates, sites)| {
            format!("version = 1\n{server}{listener}{certificates}{}", sites.concat())
        })
        .boxed()
}
