//! Reads an `applicationHost.config` of many sites and says how long it takes:
//! `cargo run --release -p bindery-iis --example read_sites 10000`.
#![allow(clippy::print_stdout, reason = "what was measured is for who measures")]

use std::{fmt::Write as _, path::Path, time::Instant};

use bindery_iis::{
    config::{Sources, read},
    netsh::records::Records,
    xml,
};
use bindery_model::document::parse;

const SERVER: &str = include_str!("../tests/samples/contoso.config");

fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(10_000);
    let text = sites(count);
    let folder = Path::new("/etc/iis");
    for _ in 0..5 {
        let begin = Instant::now();
        let tree = xml::parse(&text).map(|tree| tree.len()).unwrap_or(0);
        let parsed = begin.elapsed();
        let begin = Instant::now();
        let document = read(&Sources {
            text: &text,
            folder,
            companion: &parse("version = 1\n[paths]\n'D:' = '/srv/d'\n", folder),
            records: &Records::default(),
            web_config: &|_| None,
            folders_with_web_config: &|_| Vec::new(),
            folder_named: &|folder| Some(folder.to_owned()),
            environment: &|_| None,
        });
        let took = begin.elapsed();
        let (read, problems) = (document.configuration.table.sites.len(), document.problems.len());
        println!(
            "{read} sites, {tree} elements, {problems} problems: {took:?}, {parsed:?} of it XML"
        );
    }
}

/// Sites with a folder and two bindings each, and what a server says of all.
fn sites(count: usize) -> String {
    let mut text = "<configuration><system.applicationHost><sites>\n".to_owned();
    for number in 1..=count {
        let site = format!(
            r#"<site name="site{number}" id="{number}"><application path="/" applicationPool="p"><virtualDirectory path="/" physicalPath="D:\sites\{number}" /></application>
<bindings><binding protocol="http" bindingInformation="*:80:www{number}.example.com" /><binding protocol="https" bindingInformation="*:443:www{number}.example.com" sslFlags="1" /></bindings></site>"#
        );
        writeln!(text, "{site}").ok();
    }
    let (begin, end) = ("    <system.webServer>\n\n", "    </system.webServer>");
    let server = SERVER.split_once(begin).and_then(|(_, rest)| rest.split_once(end));
    let server = server.map_or("", |(server, _)| server);
    text + "</sites></system.applicationHost><system.webServer>"
        + server
        + "</system.webServer></configuration>"
}
