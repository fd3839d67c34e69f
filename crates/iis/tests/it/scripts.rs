//! Forms of appcmd that scripts of administrators have, beside those of its documentation.

use crate::{
    appcmd::{does, fails, lacks, on},
    sample::SAMPLE,
};

#[test]
fn bindings_are_given_as_addresses_too() {
    let one = |text: &str| {
        let answer = on(SAMPLE, &format!("add site /name:Y /bindings:{text}"), None);
        let listed = on(&answer.text.unwrap_or_default(), "list site Y /text:bindings", None);
        (answer.exit, listed.output.trim_end().to_owned())
    };
    for (text, bindings) in [
        ("http://*:81", "http/*:81:"),
        ("http://:98", "http/*:98:"),
        ("http://y.com:8080,https://y.com", "http/*:8080:y.com,https/*:443:y.com"),
        ("HTTP://y.com/", "HTTP/*:80:y.com"),
        ("http://192.0.2.1:80", "http/192.0.2.1:80:"),
        ("http://[2001:db8::1]", "http/[2001:db8::1]:80:"),
        ("ftp://y.com", "ftp/*:21:y.com"),
    ] {
        assert_eq!(one(text), (0, bindings.to_owned()), "{text}");
    }
    for text in
        ["http:/y.com", "http://y.com:x", "http://y.com/shop", "net.tcp://y.com", "http://a:b:1"]
    {
        assert_eq!(one(text).0, 87, "{text}");
        fails(
            &format!("set site X /bindings:{text}"),
            &format!("\"{text}\" is neither protocol/bindingInformation nor http://domain:port."),
            87,
        );
    }
}

#[test]
fn objects_are_named_by_parameters_too() {
    for (line, same) in [
        ("set site /site.name:X /id:7", "set site X /id:7"),
        ("stop site -SITE.NAME:x", "stop site x"),
        ("delete app /app.name:X/app1", "delete app X/app1"),
        ("set vdir /vdir.name:X/ /physicalPath:D:\\x", "set vdir X/ /physicalPath:D:\\x"),
        ("recycle apppool /apppool.name:DefaultAppPool", "recycle apppool DefaultAppPool"),
        ("delete site /site.name:Missing", "delete site Missing"),
    ] {
        assert_eq!(on(SAMPLE, line, None), on(SAMPLE, same, None), "{line}");
    }
}

#[test]
fn objects_within_their_sections_are_as_elsewhere() {
    let section = "set config -section:system.applicationHost/sites";
    let applied = "Applied configuration changes to section \"system.applicationHost/sites\" for \"MACHINE/WEBROOT/APPHOST\" at configuration commit path \"MACHINE/WEBROOT/APPHOST\"";
    does(
        &format!(
            "{section} /+[name='X'].bindings.[protocol='http',bindingInformation='*:82:x.com']"
        ),
        applied,
        "+<binding protocol=\"http\" bindingInformation=\"*:82:x.com\" />",
    );
    does(
        &format!("{section} /[NAME='x'].LIMITS.maxconnections:5"),
        applied,
        "+<limits maxConnections=\"5\" />",
    );
    does(
        &format!("{section} /siteDefaults.limits.maxConnections:50"),
        applied,
        "+<siteDefaults>\n+<limits maxConnections=\"50\" />\n+</siteDefaults>",
    );
    let unknown = "Unknown attribute \"port\".  Replace with -? for help.";
    fails(&format!("{section} /+[name='X'].bindings.[protocol='http',port='1']"), unknown, 87);
    let half = lacks("binding element", "bindingInformation");
    fails(&format!("{section} /+[name='X'].bindings.[protocol='http']"), &half, 87);
}
