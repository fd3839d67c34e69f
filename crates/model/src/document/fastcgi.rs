//! Reads `fastcgi`: programs that speak FastCGI, beside the `root` of their scripts. An address, or
//! a table.

use super::{
    PathKind, address, files,
    proxy::{IDLE_CONNECTIONS_MAX, TIMEOUT_KEYS, read_timeouts},
    read::{Entry, Reader, Section, Text},
    value::is_field_value,
};
use crate::{
    problem::{Code, Span},
    site::{FastCgi, Files, RouteAction},
    upstream::{ServerAddress, Timeouts},
};

/// Reads the value of `fastcgi`, and the files beside it.
pub(super) fn read<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    entry: &Entry<'d>,
    options: &Files,
) -> Option<(RouteAction, Span)> {
    let files = files::read(reader, section, options);
    if section.entry("root").is_none() {
        let message = format!("{}: fastcgi needs root, the folder of the scripts", section.owner);
        let help = "add root = \"a folder\": scripts are run there, other files are sent";
        reader.problem(Code::MissingKey, entry.key_span.clone(), message, help);
    }
    let program = match entry.is_text() {
        true => {
            let text = reader.text_of(section, entry)?;
            Program { server: read_server(reader, section, &text), ..Program::default() }
        }
        false => read_table(reader, section, entry)?,
    };
    let (files, span) = files?;
    let action = FastCgi {
        server: program.server?,
        files,
        extensions: program.extensions.unwrap_or_else(|| vec![FastCgi::EXTENSION.to_owned()]),
        front_controller: program.front_controller,
        parameters: program.parameters,
        timeouts: program.timeouts,
        idle_connections_max: program.idle_connections_max.unwrap_or(FastCgi::IDLE_CONNECTIONS),
    };
    Some((RouteAction::FastCgi(Box::new(action)), span))
}

/// What the table says.
#[derive(Default)]
struct Program {
    server: Option<ServerAddress>,
    extensions: Option<Vec<String>>,
    front_controller: Option<String>,
    parameters: Vec<(String, String)>,
    timeouts: Timeouts,
    idle_connections_max: Option<u32>,
}

fn read_table<'d>(
    reader: &mut Reader<'d>,
    section: &Section<'d>,
    entry: &Entry<'d>,
) -> Option<Program> {
    if !entry.is_table() {
        reader.wrong_type(section, entry, "an address or a table");
        return None;
    }
    let table = reader.section(section, entry, || format!("fastcgi of {}", section.owner))?;
    let mut keys =
        vec!["to", "extensions", "front_controller", "parameters", "idle_connections_max"];
    keys.extend(TIMEOUT_KEYS);
    reader.known(&table, &keys);
    let to = reader.required_text(&table, "to", "unix:/run/php/php-fpm.sock");
    let server = to.and_then(|text| read_server(reader, &table, &text));
    let extensions = read_extensions(reader, &table);
    Some(Program {
        server,
        front_controller: read_front_controller(reader, &table, extensions.as_deref()),
        extensions,
        parameters: read_parameters(reader, &table),
        timeouts: read_timeouts(reader, &table),
        idle_connections_max: reader.count(
            &table,
            "idle_connections_max",
            0..=IDLE_CONNECTIONS_MAX,
        ),
    })
}

pub(super) fn read_server(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    text: &Text<'_>,
) -> Option<ServerAddress> {
    match address::server(text.value, reader.folder()) {
        Ok(server) => {
            if let ServerAddress::Unix(path) = &server {
                reader.name_path(section, PathKind::Socket, path, &text.span);
            }
            Some(server)
        }
        Err(wrong) => {
            reader.wrong(Code::BadValue, section, text, wrong);
            None
        }
    }
}

fn read_extensions<'d>(reader: &mut Reader<'d>, table: &Section<'d>) -> Option<Vec<String>> {
    let entry = table.entry("extensions")?;
    if entry.is_empty() {
        let help = "name them, as in [\".php\"], or remove fastcgi to send every file as it is";
        reader.bad(table, entry.span, "there are no endings of scripts", help);
    }
    let mut extensions = Vec::new();
    for text in reader.texts(table, "extensions").unwrap_or_default() {
        extensions.extend(files::read_ending(reader, table, text.value, text.span));
    }
    Some(extensions)
}

fn read_front_controller<'d>(
    reader: &mut Reader<'d>,
    table: &Section<'d>,
    extensions: Option<&[String]>,
) -> Option<String> {
    let path = files::read_file_path(reader, table, "front_controller")?;
    let ending = path.rsplit_once('.').map(|(_, ending)| ending.to_lowercase());
    let is_script = ending.is_some_and(|ending| match extensions {
        Some(extensions) => extensions.contains(&ending),
        None => ending == FastCgi::EXTENSION,
    });
    if !is_script {
        let span =
            table.entry("front_controller").map_or_else(|| table.span.clone(), |entry| entry.span);
        let wrong = format!("front_controller {path:?} has no ending of a script");
        let help = "name a script, as in \"/index.php\", or add its ending to extensions";
        reader.bad(table, span, wrong, help);
        return None;
    }
    Some(path)
}

fn read_parameters<'d>(reader: &mut Reader<'d>, table: &Section<'d>) -> Vec<(String, String)> {
    let owner = || format!("parameters of {}", table.owner);
    let Some(own) = reader.table(table, "parameters", owner) else { return Vec::new() };
    let mut parameters = Vec::new();
    for entry in own.entries() {
        let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        // Fields of the request come as HTTP_…: nobody can tell them from parameters called so.
        let forged = entry.key.to_ascii_uppercase().starts_with("HTTP_");
        if entry.key.is_empty() || !entry.key.bytes().all(letter) || forged {
            let (wrong, help) = match forged {
                true => (
                    format!("{} looks like a field of the request", entry.key),
                    "write request_headers = { set = { ... } } for fields",
                ),
                false => (
                    format!("{:?} is no name of a parameter", entry.key),
                    "write letters, digits and underscores, as in APP_ENV",
                ),
            };
            reader.bad(&own, entry.key_span.clone(), wrong, help);
            continue;
        }
        let Some(text) = reader.text_of(&own, &entry) else { continue };
        if text.value.contains(char::is_control) && !is_field_value(text.value) {
            let wrong = format!("{} has a control character", entry.key);
            reader.bad(&own, text.span, wrong, "remove it");
            continue;
        }
        parameters.push((entry.key.to_owned(), text.value.to_owned()));
    }
    // They have no order: the same parameters are the same configuration.
    parameters.sort_unstable();
    parameters
}
