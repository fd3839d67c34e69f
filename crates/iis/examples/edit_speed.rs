//! How long one change takes in a file of many sites: `edit_speed [sites]`.

#![allow(clippy::print_stdout, reason = "it is what this program is for")]

use std::{fmt::Write as _, time::Instant};

use bindery_iis::{appcmd, config, xml};
use bindery_model::change::{Act, Change, Place, Value};

fn main() {
    let sites: u32 = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(10_000);
    let mut text = String::from(
        "<?xml version=\"1.0\"?>\n<configuration>\n    <system.applicationHost>\n        <sites>\n",
    );
    for id in 1..=sites {
        write!(text, "            <site name=\"site{id}\" id=\"{id}\">\n                <application path=\"/\" applicationPool=\"pool{id}\">\n                    <virtualDirectory path=\"/\" physicalPath=\"D:\\sites\\site{id}\" />\n                </application>\n                <bindings>\n                    <binding protocol=\"http\" bindingInformation=\"*:80:www.site{id}.example\" />\n                    <binding protocol=\"https\" bindingInformation=\"*:443:www.site{id}.example\" sslFlags=\"1\" />\n                </bindings>\n            </site>\n").ok();
    }
    text.push_str("        </sites>\n    </system.applicationHost>\n");
    for id in 1..=sites {
        write!(text, "    <location path=\"site{id}\">\n        <system.webServer>\n            <directoryBrowse enabled=\"true\" />\n        </system.webServer>\n    </location>\n").ok();
    }
    text.push_str("</configuration>\n");
    let on = "https/*:443:new.example".to_owned();
    let binding = |site: u32| Change {
        at: Place::Binding { site: format!("site{site}"), on: on.clone() },
        act: Act::Add([].into()),
    };
    let add = Change {
        at: Place::Site("new".to_owned()),
        act: Act::Add(
            [
                ("root".to_owned(), Value::Text("/x".to_owned())),
                ("listing".to_owned(), Value::Boolean(true)),
            ]
            .into(),
        ),
    };
    let all: Vec<_> = (1..=sites).map(binding).collect();
    println!("{sites} sites, {} bytes", text.len());
    let world = appcmd::World { text: &text, backups: &[], backup_name: "b", requests: &[] };
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let timed = |name: &str, work: &dyn Fn() -> usize| {
        let mut best = f64::MAX;
        for _ in 0..7 {
            let begin = Instant::now();
            std::hint::black_box(work());
            best = best.min(begin.elapsed().as_secs_f64() * 1000.0);
        }
        println!("{best:8.1} ms  {name}");
    };
    timed("parse", &|| xml::parse(&text).map_or(0, |tree| tree.len()));
    timed("add a binding", &|| config::edit(&text, &[binding(77)]).map_or(0, |text| text.len()));
    timed("add a site", &|| {
        config::edit(&text, std::slice::from_ref(&add)).map_or(0, |text| text.len())
    });
    timed("a binding for every site", &|| config::edit(&text, &all).map_or(0, |text| text.len()));
    timed("appcmd set site", &|| {
        appcmd::run(&words("set site site77 /+bindings.[protocol='https',bindingInformation='*:443:n.example',sslFlags='1']"), None, &world).output.len()
    });
    timed("appcmd set config", &|| {
        appcmd::run(&words("set config site77 /section:httpRedirect /enabled:true"), None, &world)
            .output
            .len()
    });
    timed("appcmd list sites", &|| appcmd::run(&words("list sites"), None, &world).output.len());
}
