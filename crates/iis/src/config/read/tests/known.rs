//! What is taken over from another text is as if it were read.

use bindery_model::document::Before;

use super::*;

/// What may hold for all.
const HEADS: [&str; 6] = [
    "<configuration><system.applicationHost>",
    "<configuration><system.applicationHost>",
    "\u{feff}<?xml version='1.0'?><configuration><configSections/><system.applicationHost><log centralLogFileMode='CentralW3C'><centralW3CLogFile directory='D:\\log'/></log>",
    "<configuration><system.webServer><directoryBrowse enabled='true'/></system.webServer><system.applicationHost>",
    "<configuration><system.webServer><security><access sslFlags='SslRequireCert'/></security></system.webServer><system.applicationHost>",
    "<configuration>",
];

/// What stands among sites.
const SITES: [&str; 22] = [
    "<site name='a' id='1'><application path='/'><virtualDirectory path='/' physicalPath='D:\\a'/></application><bindings><binding protocol='http' bindingInformation='*:80:a.example'/></bindings></site>\n",
    "  <site name='b' id='2'><application path='/'><virtualDirectory path='/' physicalPath='D:\\b'/></application><bindings><binding protocol='https' bindingInformation='*:443:b.example' sslFlags='1'/></bindings></site>",
    "<site name='c' id='3'><application path='/'><virtualDirectory path='/' physicalPath='D:\\a\\c'/><virtualDirectory path='/v' physicalPath='D:\\v'/></application><application path='/x' applicationPool='p'><virtualDirectory path='/' physicalPath='D:\\x'/></application><bindings><binding protocol='https' bindingInformation='10.0.0.1:443:' sslFlags='0'/><binding protocol='net.tcp' bindingInformation='808:*'/></bindings></site>\n",
    "<site name='é' id='4'><application path='/'><virtualDirectory path='/' physicalPath='E:\\nowhere'/></application><bindings><binding protocol='http' bindingInformation='*:80:e.example'/></bindings></site>\n",
    "<site name='f' id='5'><application path='/'><virtualDirectory path='/' physicalPath='E:\\nowhere\\f'/></application><bindings><binding protocol='http' bindingInformation='*:80:f.example'/></bindings></site>\n",
    "<site name='g'><application path='/'><virtualDirectory path='/' physicalPath='D:\\g'/></application><bindings><binding protocol='http' bindingInformation='*:80:g.example'/></bindings></site>\n",
    "<site name='h' id='7' serverAutoStart='false'><application path='/'><virtualDirectory path='/' physicalPath='D:\\h'/></application><bindings><binding protocol='http' bindingInformation='*:80:a.example'/></bindings></site>\n",
    "<site name='i' id='8'><application path='/'><virtualDirectory path='/' physicalPath='D:\\i'/></application><bindings/><hsts enabled='true' max-age='1'/></site>\n",
    "<site name='A' id='9'><application path='/'><virtualDirectory path='/' physicalPath='D:\\A'/></application><bindings><binding protocol='http' bindingInformation='*:80:aa.example'/></bindings></site>\n",
    "<site name='j' id='1'><application path='/'><virtualDirectory path='/' physicalPath='D:\\j'/></application><bindings><binding protocol='http' bindingInformation='*:80:j.example'/></bindings></site>\n",
    "<site name='k' id='11'/>",
    "<site name='l' id='12' colour='red'><!-- </site> --><application path='/'><virtualDirectory path='/' physicalPath='D:\\web'/></application><bindings><binding protocol='https' bindingInformation='*:443:l.example' sslFlags='3'/></bindings></site >\n",
    "<site name='m' id='13'><application path='/'><virtualDirectory path='/' physicalPath='D:\\broken'/></application><bindings><binding protocol='https' bindingInformation='*:443:*.example' sslFlags='1'/></bindings></site>\n",
    "<site name='n' id='14'><application path='/'><virtualDirectory path='/' physicalPath='%U%\\n'/></application><bindings><binding protocol='https' bindingInformation='*:443:b.example' sslFlags='1'/></bindings></site>\n",
    "<siteDefaults><limits maxConnections='7'/></siteDefaults>",
    "<virtualDirectoryDefaults allowSubDirConfig='false'/>\n",
    "<!-- <site name='z' id='20'/> -->",
    "<sites/>",
    "text\u{feff}",
    "\u{feff}",
    "<site",
    "</sites></system.applicationHost><system.applicationHost><sites>",
];

/// What stands behind sites.
const ENDS: [&str; 9] = [
    "",
    "",
    "<location path='a'><system.webServer><directoryBrowse enabled='true'/></system.webServer></location>",
    "<location path='B/sub' inheritInChildApplications='false'><system.webServer><httpErrors><error statusCode='404' path='D:\\e.htm'/></httpErrors></system.webServer></location>",
    "<location path='c'><system.webServer><security><access sslFlags='Ssl'/><what/></security></system.webServer></location>",
    "<location path='a'><system.webServer><directoryBrowse enabled='maybe'/></system.webServer></location>",
    "<location path='nobody'/>",
    "<location path=''><system.webServer><httpProtocol><customHeaders><add name='X' value='1'/></customHeaders></httpProtocol></system.webServer></location>",
    "<site name='y' id='30'><bindings/></site>",
];

/// What stands beside the text.
const COMPANIONS: [&str; 4] = [
    "version = 1\n[paths]\n'D:' = \"/srv/d\"\n",
    "version = 1\n[paths]\n'D:' = \"/srv/d\"\n",
    "version = 1\n[server]\nclient_ca = 'ca.pem'\n[paths]\n'D:' = \"/srv/d\"\n",
    "version = 1\n[server]\ncentral_store = { folder = 'c' }\n[[certificate]]\nname = 'c'\nfile = 'c.pem'\n[paths]\n'D:' = \"/srv/d\"\n'E:' = \"/srv/e\"\n",
];

fn given(
    (head, sites, ends): (&str, &[&str], &[&str]),
    companion: &'static str,
    records: &[usize],
) -> Given {
    let text = format!(
        "{head}<sites>{}</sites></system.applicationHost>{}</configuration>",
        sites.concat(),
        ends.concat()
    );
    let mut given = Given { text, companion, ..Given::default() };
    let keys = ["b.example:443", "*.example:443", "10.0.0.1:443:", "0.0.0.0:443"];
    let record = |at: &usize| {
        let key = keys[at % keys.len()];
        let key = RecordKey::hostname_port(key).or_else(|| RecordKey::ip_port(key))?;
        let hash = [u8::try_from(*at).unwrap(); 20];
        Some(Record { certificate_hash: Some(hash), ..Record::new(key, ApplicationId(0)) })
    };
    given.records = records.iter().filter_map(record).collect();
    let inner = "<configuration><system.webServer><directoryBrowse enabled='true'/><unknown/></system.webServer></configuration>";
    given.web_configs.insert("/srv/d/web".into(), inner.to_owned());
    given.web_configs.insert("/srv/d/a/c/below".into(), inner.to_owned());
    given.web_configs.insert("/srv/d/broken".into(), "<configuration>".to_owned());
    given
}

fn in_force(document: &Document, text: &str, given: &Given, last: &Records) -> Document {
    let folder = Path::new("/etc/iis");
    let Document { configuration, positions, problems } = document;
    given.with_sources(|sources| {
        read_after(sources, Before { text, folder, configuration, positions, problems }, last)
    })
}

fn shown(document: &Document) -> String {
    let Document { configuration, positions, problems } = document;
    let Configuration { settings, listeners, table, records } = configuration;
    let table = (&table.sites, &table.bindings, &table.certificates);
    let flags = records.as_ref().map(|records| &records.ssl_flags);
    let certificates =
        records.as_ref().map(|records| records.certificates.iter().collect::<BTreeMap<_, _>>());
    format!(
        "{settings:?} {listeners:?} {table:?} {flags:?} {certificates:?} {positions:?} {problems:?}"
    )
}

/// A text of plain sites with these numbers.
fn plain(numbers: impl IntoIterator<Item = u32>, behind: &str) -> Given {
    let site = |number: u32| {
        format!(
            "<site name='s{number}' id='{number}'><application path='/'><virtualDirectory path='/' physicalPath='D:\\s'/></application><bindings><binding protocol='https' bindingInformation='*:443:s{number}.example' sslFlags='1'/></bindings></site>\n"
        )
    };
    let sites: String = numbers.into_iter().map(site).collect();
    given((HEADS[0], &[&sites], &[behind]), COMPANIONS[0], &[])
}

/// Which of the sites are those of another text.
fn taken_over(before: &Document, after: &Document) -> Vec<String> {
    let known = &before.configuration.table.sites;
    let sites = after.configuration.table.sites.iter();
    let taken = sites.filter(|site| known.iter().any(|own| Arc::ptr_eq(own, site)));
    taken.map(|site| site.name.clone()).collect()
}

#[test]
fn sites_that_stand_there_as_they_did_are_not_read() {
    let before = plain(1..=4, "");
    let read = before.read();
    let check = |after: &Given, expected: &[&str]| {
        let document = in_force(&read, &before.text, after, &before.records);
        assert_eq!(taken_over(&read, &document), expected);
        assert_eq!(shown(&document), shown(&after.read()));
        document
    };
    let added = check(&plain(1..=5, ""), &["s1", "s2", "s3", "s4"]);
    // What they have in common with new ones they have once.
    let rules = |at: usize| &added.configuration.table.sites[at].root.rules;
    assert!(Arc::ptr_eq(rules(0), rules(4)));
    check(&plain([1, 3, 4], ""), &["s1", "s3", "s4"]);
    check(&plain([9, 1, 2, 8, 3, 4], ""), &["s1", "s2", "s3", "s4"]);
    // One that a location names says something else now.
    let location = "<location path='S2'><system.webServer><directoryBrowse enabled='true'/></system.webServer></location>";
    check(&plain(1..=4, location), &["s1", "s3", "s4"]);
    // What holds for all holds for each.
    let section = "<system.webServer><directoryBrowse enabled='true'/></system.webServer>";
    check(&plain(1..=4, section), &[]);
    // A record counts where a binding has its key.
    let mut recorded = plain(1..=4, "");
    let key = RecordKey::hostname_port("s3.example:443").unwrap();
    let record = Record { certificate_hash: Some([7; 20]), ..Record::new(key, ApplicationId(0)) };
    recorded.records = [record].into_iter().collect();
    check(&recorded, &["s1", "s2", "s4"]);
}

#[test]
fn a_site_with_a_location_of_its_own_is_taken_over_with_it() {
    let location = "<location path='s2'><system.webServer><directoryBrowse enabled='true'/></system.webServer></location>";
    let before = plain(1..=3, location);
    let read = before.read();
    let after = plain(0..=3, location);
    let after = Given { text: after.text.replace("id='0'", "id='9'"), ..after };
    let document = in_force(&read, &before.text, &after, &before.records);
    assert_eq!(taken_over(&read, &document), ["s1", "s2", "s3"]);
    assert_eq!(shown(&document), shown(&after.read()));
    // And from what was taken over.
    let again = in_force(&document, &after.text, &before, &after.records);
    assert_eq!(taken_over(&document, &again), ["s1", "s2", "s3"]);
    assert_eq!(shown(&again), shown(&read));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn what_is_taken_over_from_another_text_is_as_if_it_were_read(
        before in proptest::collection::vec(0..SITES.len(), 0..7),
        (from, count) in (0..7_usize, 0..4_usize),
        with in proptest::collection::vec(0..SITES.len(), 0..4),
        heads in (0..HEADS.len(), 0..HEADS.len(), any::<bool>()),
        ends in proptest::collection::vec(0..ENDS.len(), 0..3),
        (more, fewer) in (proptest::collection::vec(0..ENDS.len(), 0..2), any::<bool>()),
        companions in (0..COMPANIONS.len(), 0..COMPANIONS.len(), any::<bool>()),
        records in proptest::collection::vec(0..8_usize, 0..3),
        others in proptest::collection::vec(0..8_usize, 0..2),
    ) {
        // Most texts follow on one that is nearly the same.
        let mut after = before.clone();
        let from = from.min(after.len());
        let to = (from + count).min(after.len());
        after.splice(from..to, with);
        let mut ends_now = ends.clone();
        ends_now.extend(more);
        if fewer { ends_now.pop(); }
        let head = if heads.2 { heads.1 } else { heads.0 };
        let companion = if companions.2 { companions.1 } else { companions.0 };
        let records_now = [records.clone(), others].concat();
        let of = |from: &[usize], all: &[&'static str]| -> Vec<&'static str> {
            from.iter().map(|at| all[*at]).collect()
        };
        let then = given(
            (HEADS[heads.0], &of(&before, &SITES), &of(&ends, &ENDS)),
            COMPANIONS[companions.0],
            &records,
        );
        let now = given(
            (HEADS[head], &of(&after, &SITES), &of(&ends_now, &ENDS)),
            COMPANIONS[companion],
            &records_now,
        );
        let read = in_force(&then.read(), &then.text, &now, &then.records);
        prop_assert_eq!(shown(&read), shown(&now.read()), "{} after {}", now.text, then.text);
    }
}
