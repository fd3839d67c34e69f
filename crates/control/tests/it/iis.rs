//! `applicationHost.config` as the truth: changed in place, with what belongs to it beside it.

use std::{fs, path::Path};

use bindery_control::{
    applier::{Applier, Event, Refused, What},
    home::{Form, Home, HomeError},
    steps::Observer,
};
use bindery_iis::netsh::records::{
    ApplicationId, Record, RecordChange, RecordKey, Records, Settings,
};
use bindery_model::{
    binding::Endpoint,
    change::{Act, Change, Fields, How, Place, Value},
};
use bindery_server::tls::keys::facts_of_der;
use bindery_testkit::ca::TestCa;

use crate::setup::{ask, request};

const CONFIG: &str = "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\r\n\
    <!-- ours -->\r\n\
    <configuration>\r\n\
    \x20 <system.applicationHost>\r\n\
    \x20   <sites>\r\n\
    \x20     <site name=\"shop\"   id=\"7\">\r\n\
    \x20       <application path=\"/\">\r\n\
    \x20         <virtualDirectory path=\"/\" physicalPath=\"C:\\inetpub\\shop\" />\r\n\
    \x20       </application>\r\n\
    \x20       <bindings>\r\n\
    \x20         <binding protocol=\"http\" bindingInformation=\"127.0.0.1:8080:shop.example\" />\r\n\
    \x20       </bindings>\r\n\
    \x20     </site>\r\n\
    \x20   </sites>\r\n\
    \x20 </system.applicationHost>\r\n\
    </configuration>\r\n";

struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        let own = Self(tempfile::tempdir().unwrap());
        own.write("applicationHost.config", CONFIG);
        let root = own.path().join("inetpub");
        fs::create_dir_all(root.join("shop/below")).unwrap();
        let companion = format!(
            "version = 1\n[server]\nstate_dir = \"state\"\n[paths]\n'C:\\inetpub' = {:?}\n",
            root.to_str().unwrap()
        );
        own.write("bindery.toml", &companion);
        own
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).unwrap();
    }

    fn config(&self) -> String {
        fs::read_to_string(self.path().join("applicationHost.config")).unwrap()
    }

    fn open(&self) -> Applier {
        let loaded = Home::load(&self.path().join("applicationHost.config")).unwrap();
        let applier = Applier::open(loaded, Observer::default()).unwrap();
        applier.state().unwrap();
        applier
    }
}

fn add_binding(on: &str) -> What {
    let at = Place::Binding { site: "Shop".to_owned(), on: on.to_owned() };
    What::Changes(vec![Change { at, act: Act::Add(Fields::new()) }])
}

#[test]
fn a_form_is_known_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any.name");
    for (text, form) in [
        (CONFIG, Form::Iis),
        ("  \n<configuration/>", Form::Iis),
        ("version = 1\n", Form::Toml),
        ("# <configuration/>\n", Form::Toml),
        ("", Form::Toml),
    ] {
        fs::write(&path, text).unwrap();
        assert_eq!(Home::find(&path).unwrap().form, form, "{text}");
    }
    let emptied = folder.path().join("applicationHost.config");
    fs::write(&emptied, "\u{feff}\r\n").unwrap();
    assert_eq!(Home::find(&emptied).unwrap().form, Form::Iis, "nobody is told to write TOML");
    let why = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        match Home::find(&path) {
            Err(HomeError::NotText { source, .. }) => source.to_string(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(why(b"\xff\xfe<\0"), "it is UTF-16; save it as UTF-8");
    assert_eq!(
        why("<a>\n\u{fc}x".as_bytes().iter().copied().chain([0xfc]).collect::<Vec<_>>().as_slice()),
        "line 2, column 3 is of another encoding; save the file as UTF-8"
    );
    fs::remove_file(&path).unwrap();
    let error = Home::find(&path).unwrap_err();
    assert!(error.to_string().ends_with("any.name cannot be read"), "{error}");
}

#[tokio::test]
async fn a_change_is_made_in_place_and_undone_to_the_byte() {
    let host = Host::new();
    let applier = host.open();
    let current = applier.current();
    let site = &current.configuration.table.sites[0];
    assert_eq!((site.name.as_str(), site.id.0), ("shop", 7));
    let made = ask(&applier, request(add_binding("http/127.0.0.1:8080:www.example"))).await;
    let made = made.unwrap();
    assert_eq!((made.revision, made.difference.0.len()), (2, 1), "{:?}", made.difference);
    let text = host.config();
    let (before, after) = text.split_once("127.0.0.1:8080:www.example").unwrap();
    assert!(before.starts_with("\u{feff}<?xml") && after.ends_with("</configuration>\r\n"));
    assert!(text.contains("<site name=\"shop\"   id=\"7\">\r\n"));
    ask(&applier, request(What::Undo(1))).await.unwrap();
    assert_eq!(host.config(), CONFIG);
}

#[tokio::test]
async fn revisions_differ_by_their_own_records_and_are_undone_with_them() {
    let host = Host::new();
    let ca = TestCa::new();
    let hash = |name: &str| {
        let leaf = ca.leaf(&["shop.example"]);
        drop(leaf.write(host.path(), name));
        facts_of_der(&leaf.certificate_der).unwrap().thumbprint
    };
    let (one, two) = (hash("one"), hash("two"));
    let mut companion = fs::read_to_string(host.path().join("bindery.toml")).unwrap();
    for name in ["one", "two"] {
        companion += &format!("[[certificate]]\nname = \"{name}\"\nfile = \"{name}.pem\"\n");
    }
    host.write("bindery.toml", &companion);
    let on = "https/127.0.0.1:8443:shop.example";
    let text = CONFIG.replace(
        "</bindings>",
        "<binding protocol=\"https\" bindingInformation=\"127.0.0.1:8443:shop.example\" \
         sslFlags=\"1\" /></bindings>",
    );
    host.write("applicationHost.config", &text);
    let applier = host.open();
    let key: RecordKey = "hostnameport=shop.example:8443".parse().unwrap();
    let record = |hash| Record {
        certificate_hash: Some(hash),
        ..Record::new(key.clone(), ApplicationId::IIS)
    };
    let records = |applier: &Applier| applier.current().records.clone();
    let second = Settings { certificate_hash: Some(two), ..Settings::default() };
    // 2 has the first, 3 the second, 4 none, each without a change of the file.
    let changes = [
        RecordChange::Add(record(one)),
        RecordChange::Update { key: key.clone(), settings: second },
        RecordChange::Delete(key.clone()),
    ];
    let mut kept = vec![records(&applier)];
    for change in changes {
        ask(&applier, request(What::Records(vec![change]))).await.unwrap();
        kept.push(records(&applier));
    }
    assert_eq!((applier.current().revision, host.config()), (4, text.clone()));
    let certificate = |from, to| -> Vec<(Option<String>, Option<String>)> {
        let told = applier.difference(from, to).unwrap();
        let at = Place::Binding { site: "shop".to_owned(), on: on.to_owned() };
        let own = told.0.into_iter().filter(|entry| entry.at == at);
        let own = own.filter_map(|entry| match entry.how {
            How::Changed(mut keys) => keys.remove("certificate"),
            How::Added(_) | How::Removed(_) => None,
        });
        let text = |value: Option<Value>| value.map(|own| own.as_text().unwrap().to_owned());
        own.map(|(before, after)| (text(before), text(after))).collect()
    };
    let hex = |hash: [u8; 20]| hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let (one, two) = (hex(one), hex(two));
    let [(before, after)] = certificate(2, 3).try_into().unwrap();
    assert_eq!((before.as_ref(), after.as_ref()), (Some(&one), Some(&two)));
    let [(before, after)] = certificate(3, 2).try_into().unwrap();
    assert_eq!((before, after), (Some(two), Some(one)));
    assert_eq!(certificate(1, 2).len(), 1);
    assert_eq!(certificate(1, 4), [], "neither has a record");
    for to in [3, 1, 2, 4] {
        let undone = ask(&applier, request(What::Undo(to))).await.unwrap();
        assert!(undone.changed);
        assert_eq!(records(&applier), kept[usize::try_from(to).unwrap() - 1], "{to}");
        assert_eq!(applier.difference(to, undone.revision).unwrap(), Default::default());
        assert_eq!(applier.history(None, 1).unwrap()[0].undo_to, Some(to));
    }
    assert_eq!((applier.current().revision, host.config()), (8, text));
    drop(applier);
    assert_eq!(host.open().current().revision, 8, "nothing has changed meanwhile");
}

#[tokio::test]
async fn certificate_records_are_changed_alone_kept_and_undone() {
    let host = Host::new();
    let applier = host.open();
    let key: RecordKey = RecordKey::IpPort(Endpoint { address: None, port: 8443 });
    let record =
        Record { certificate_hash: Some([7; 20]), ..Record::new(key.clone(), ApplicationId::IIS) };
    let add = What::Records(vec![RecordChange::Add(record)]);
    let made = ask(&applier, request(add.clone())).await.unwrap();
    assert_eq!((made.revision, made.changed), (2, true));
    assert!(applier.current().records.find(&key).is_some());
    assert_eq!(host.config(), CONFIG, "the file has no part in it");
    let refused = ask(&applier, request(add)).await.unwrap_err();
    assert!(matches!(refused, Refused::Records(_)), "{refused}");
    drop(applier);
    let applier = host.open();
    assert!(applier.current().records.find(&key).is_some());
    assert_eq!(applier.current().revision, 2);
    ask(&applier, request(What::Undo(1))).await.unwrap();
    assert_eq!(applier.current().records, Records::default());
    ask(&applier, request(What::Undo(2))).await.unwrap();
    assert!(applier.current().records.find(&key).is_some());
}

#[tokio::test]
async fn what_is_wrong_beside_it_is_told_with_its_own_file() {
    let host = Host::new();
    let applier = host.open();
    let good = fs::read_to_string(host.path().join("bindery.toml")).unwrap();
    host.write("bindery.toml", &(good + "colour = 1\n"));
    let refused = ask(&applier, request(What::Reload)).await.unwrap_err();
    let Refused::Problems(problems) = refused else { panic!("{refused}") };
    assert!(problems[0].said().contains("bindery.toml"), "{problems:?}");
    assert_eq!(problems[0].line(), Some(6), "{problems:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_config_that_is_new_is_taken_up_wherever_it_stands() {
    let host = Host::new();
    let applier = host.open();
    let mut events = applier.events();
    let _watch = bindery_control::watch::watch(applier.clone()).unwrap();
    let listing = "<configuration><system.webServer><directoryBrowse enabled=\"true\" />\
                   </system.webServer></configuration>";
    let below = host.path().join("inetpub/shop/below");
    // In a folder that was there, in one that was not, and in one that comes as a whole.
    let other = host.path().join("other/inner");
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("web.config"), listing).unwrap();
    let steps: [(&str, &dyn Fn()); 3] = [
        ("/below", &|| fs::write(below.join("web.config"), listing).unwrap()),
        ("/below/new", &|| {
            fs::create_dir(below.join("new")).unwrap();
            fs::write(below.join("new/Web.config"), listing.replace("true", "false")).unwrap();
        }),
        ("/below/moved/inner", &|| {
            fs::rename(other.parent().unwrap(), below.join("moved")).unwrap();
            fs::write(below.join("moved/inner/web.config"), listing.replace("true", "0")).unwrap();
            fs::write(below.join("moved/inner/web.config"), listing.replace("true", "false"))
                .unwrap();
        }),
    ];
    for (path, step) in steps {
        step();
        bindery_testkit::eventually("a route", async || {
            let current = applier.current();
            let site = &current.configuration.table.sites[0];
            site.routes.iter().any(|route| route.path == path)
        })
        .await;
        assert!(bindery_testkit::soon("an event", events.recv()).await.is_ok());
    }
    // And it goes as it came.
    fs::remove_file(below.join("web.config")).unwrap();
    bindery_testkit::eventually("no route", async || {
        let current = applier.current();
        let site = &current.configuration.table.sites[0];
        !site.routes.iter().any(|route| route.path == "/below")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_config_that_is_edited_is_taken_up() {
    let host = Host::new();
    host.write("inetpub/shop/web.config", "<configuration/>");
    let applier = host.open();
    let mut events = applier.events();
    let _watch = bindery_control::watch::watch(applier.clone()).unwrap();
    let redirect = "<configuration><system.webServer><httpRedirect enabled=\"true\" \
                    destination=\"https://elsewhere.example/\" /></system.webServer></configuration>";
    host.write("inetpub/shop/web.config", redirect);
    let event = bindery_testkit::soon("an event", events.recv()).await.unwrap();
    let Event::Changed(record) = event else { panic!("it is right") };
    assert_eq!(record.revision, 2);
    assert!(!record.difference.0.is_empty());
    assert_eq!(host.config(), CONFIG);
    // A change of something else reads no web.config again, and keeps what it said.
    let what = What::Changes(vec![Change {
        at: Place::Site("shop".to_owned()),
        act: Act::Set([("state".to_owned(), Some(Value::Text("stopped".to_owned())))].into()),
    }]);
    let made = ask(&applier, request(what)).await.unwrap();
    assert_eq!(made.difference.0.len(), 1, "{:?}", made.difference);
}
