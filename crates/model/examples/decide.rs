//! Decides so many times among 10,000 bindings, each time for the next name:
//! `cargo run --release -p bindery-model --example decide -- 1000`. `xtask count` counts what one
//! decision takes by it.

#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::{fmt::Write as _, net::SocketAddr, path::Path, process::ExitCode};

use bindery_model::{
    decide::{Question, decide},
    document,
    name::HostName,
};

const BINDINGS: usize = 10_000;

fn main() -> ExitCode {
    let Some(times) = std::env::args().nth(1).and_then(|text| text.parse::<usize>().ok()) else {
        println!("usage: decide TIMES");
        return ExitCode::from(2);
    };
    let mut text = "version = 1\n[[certificate]]\nname = 'a'\nfile = 'a.pem'\n".to_owned();
    for number in 0..BINDINGS {
        // Writing to a string does not fail.
        writeln!(
            text,
            "[[site]]\nname = 's{number}'\nrespond = ''\nbindings = [\n\
             {{ on = 'https/*:443:name{number}.example', certificate = 'a' }}]"
        )
        .ok();
    }
    let configuration = document::parse(&text, Path::new("/")).configuration;
    let names: Vec<HostName> =
        (0..BINDINGS).filter_map(|number| format!("name{number}.example").parse().ok()).collect();
    let local = SocketAddr::from(([192, 0, 2, 1], 443));
    let table = &configuration.table;
    let found = names
        .iter()
        .cycle()
        .take(times)
        .filter(|name| {
            let order = configuration.settings.order;
            let rules = configuration.rules(local);
            let question = Question { local, name: Some(name), order, rules };
            decide(question, |key| table.holder(key).map(|id| table.binding(id))).is_some()
        })
        .count();
    println!("{found} of {times} found");
    if found == times { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
